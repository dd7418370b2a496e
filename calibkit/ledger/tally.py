"""Predicted and measured variances of every tile of a block, after each step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibkit.calibration.engine import calibrate
from calibkit.ledger.masters import Masters
from calibkit.ledger.measuring import Layout, between, mean_of, shifted_mean, structures, typical
from calibkit.ledger.sample import Block
from calibkit.ledger.sources import OF_A_FRAME, OF_MASTERS, Parts, take_apart
from calibkit.ledger.task import Task

#: Share of the frames that a pixel of shifted frames rests on at least.
_SHARED = 0.8
#: Share of the pixels of a tile that have to be typical.
_ENOUGH = 0.5

#: Images ``(frame, y, x)`` or ``(y, x)`` of a block by name; of one channel: ``(frame, tile, pixel)``.
Images = dict[str, np.ndarray]
#: (step, quantity) → one number per tile. Quantities: every source, "pattern", "level", "measured frames" …
Tally = dict[tuple[str, str], np.ndarray]


def tally_block(task: Task, block: Block, pixels: np.ndarray) -> list[Tally]:
    """Tallies of all channels for the tiles of one block; NaN for a tile with too few typical pixels.

    Parameters
    ----------
    task : Task
    block : Block
    pixels : numpy.ndarray
        Every frame on the block and its rim, ``(frame, y, x)``.
    """
    images = block_images(task, block, pixels)
    split = {name: task.layout.split(image) for name, image in images.items()}
    return [
        _Channel(task, number, {name: parts[number] for name, parts in split.items()}).tally()
        for number in range(len(task.channels))
    ]


def block_images(task: Task, block: Block, pixels: np.ndarray) -> Images:
    """Everything that is known of the pixels of a block, without its rim."""
    inner = block.inner
    every = (slice(None), *inner)
    light = task.block_light(pixels, block)
    masters = task.masters.under(light)
    index = task.index(block)
    count, close = len(pixels), list(task.close)
    final = np.empty((count, *index[inner].shape), np.float32)
    spread = np.empty((count, len(task.channels)))
    flags = np.zeros(final.shape[1:], np.uint16)
    variance = np.zeros(final.shape[1:])
    close_variance = {}
    for part in task.portions(index.size):
        done = calibrate(light.isel(frame=part), **masters.as_options(), **task.options)
        final[part] = done["signal"].values[every]
        flags |= np.bitwise_or.reduce(done["flags"].values[every], axis=0)
        values = done["variance"].values[every]
        variance += values.sum(axis=0, dtype=np.float64)
        spread[part] = _channel_means(values, index[inner], len(task.channels))
        close_variance |= {i: values[i - part.start] for i in close if part.start <= i < part.stop}
    parts = take_apart(
        light.isel(frame=close),
        masters,
        task.options,
        terms=task.close_terms,
        floor=task.close_floor,
        scale=task.scale[close],
        index=index,
    )
    images = {
        "raw": pixels[close][every],
        "net": parts.net[every],
        "final": final[close],
        "final variance": np.stack([close_variance[i] for i in close]),
        "all variance": variance / count,
        **{name: values[every] for name, values in parts.frame.items()},
        **_master_images(masters, parts, inner),
    }
    good = (flags == 0) & np.isfinite(final).all(axis=0)
    mean = final.mean(axis=0, dtype=np.float64)
    stars = structures(final, spread, good, task.layout.cell)
    if count > 1:
        brought = images["final variance"].mean(axis=0) - sum(
            images[name].mean(axis=0) / images.get("flat", 1.0) ** 2 for name in OF_A_FRAME
        )
        common = _channel_means(brought[None], index[inner], len(task.channels))
        noise = np.maximum(spread.mean(axis=0) - common, 0) / count + common
        stars |= structures(mean[None], noise, good, task.layout.cell)
    good &= ~stars
    return images | {"good": good} | _combined_images(task, final, mean, good)


def _channel_means(values: np.ndarray, index: np.ndarray, channels: int) -> np.ndarray:
    """Mean of the finite values of each frame and channel."""
    out = np.full((len(values), channels), np.nan)
    for channel in range(channels):
        of_channel = values[:, index == channel]
        known = np.isfinite(of_channel)
        total = np.where(known, of_channel, 0).sum(axis=1, dtype=np.float64)
        out[:, channel] = total / np.maximum(known.sum(axis=1), 1)
    return out


def _master_images(masters: Masters, parts: Parts, inner: tuple[slice, slice]) -> Images:
    images: Images = {}
    every = (slice(None), *inner)
    for name in ("bias", "dark", "flat"):
        master = getattr(masters, name)
        if master is not None:
            images[name] = master["signal"].values[inner].astype(np.float64)
            images[f"{name} variance"] = master["variance"].values[inner].astype(np.float64)
    if "bias" in images:
        images["bias master"] = parts.bias[every]
    if "dark" in images:
        images["dark master"] = parts.dark[every]
    return images


def _combined_images(task: Task, final: np.ndarray, mean: np.ndarray, good: np.ndarray) -> Images:
    """Mean of all frames, on the same pixels or shifted against each other, and the means of its halves."""
    count = len(final)
    if count < 2:
        return {}
    images = {"mean": mean}
    if task.dithered:
        images["shifted"], images["share"] = shifted_mean(final, good, task.layout.cell.shape[1])
    elif count >= 4:
        even = count // 2 * 2
        for i, name in enumerate(("first half", "second half")):
            images[name] = final[i:even:2].mean(axis=0, dtype=np.float64)
    return images


class _Channel:
    """One channel of a block."""

    def __init__(self, task: Task, number: int, images: Images) -> None:
        self.task, self.number, self.images = task, number, images
        self.layout: Layout = task.layout
        self.good = self._good()
        self.found: Tally = {("raw", "pixels"): self.good.sum(axis=1).astype(float)}

    def tally(self) -> Tally:
        """All quantities of all steps."""
        for step, values, sources in self._steps():
            for name, variance in sources.items():
                self._put(step, name, mean_of(variance, self.good))
            self._put(step, "level", mean_of(values, self.good))
            seen = np.where(self.good, values, np.nan)
            self._put(step, "measured pixels", self.layout.neighbours(seen))
            if step in ("bias", "dark"):  # what is subtracted from both frames makes no difference
                self._copy("raw", step, "measured frames")
            elif self.task.pairs:
                pairs = np.stack([between(seen[i], seen[j]) for i, j in self.task.pairs])
                self._put(step, "measured frames", pairs)
            last = step
        self._patterns()
        response = np.broadcast_to(self.images.get("flat", 1.0), self.good.shape)
        self._put("raw", "response", mean_of(response, self.good))
        with np.errstate(divide="ignore"):
            self._put("raw", "inverse response", mean_of(1.0 / response, self.good))
        if "mean" in self.images:
            self._combined(last)
        return self.found

    def _put(self, step: str, quantity: str, values: np.ndarray) -> None:
        """Keep the mean over the frames, if there are any."""
        self.found[step, quantity] = values if values.ndim == 1 else _finite_mean(values)

    def _copy(self, before: str, step: str, quantity: str) -> None:
        if (before, quantity) in self.found:
            self.found[step, quantity] = self.found[before, quantity]

    def _good(self) -> np.ndarray:
        """Typical pixels without flags, stars and edges, in tiles that have enough of them."""
        images, good = self.images, self.images["good"] > 0
        thermal = spread = None
        if "dark" in images:
            per_adu = self.task.close_terms.per_adu[:, self.number].mean()
            factor = float(self.task.scale.mean() * per_adu)
            thermal = factor * images["dark"]
            spread = factor * np.sqrt(images["dark variance"])
        noise = _finite_mean(sum(mean_of(images[name], good) for name in OF_A_FRAME))
        good &= typical(images.get("flat"), thermal, spread, noise)
        return good & (good.mean(axis=1) >= _ENOUGH)[:, None]

    def _steps(self) -> Iterator[tuple[str, np.ndarray, Images]]:
        """(step, values of the frames, variance by source) in the order of the work."""
        images = self.images
        sources = {name: images[name] for name in OF_A_FRAME}
        yield "raw", images["raw"], sources
        if "bias" in images:
            brought = {"bias master": images["bias variance"][None]}
            yield "bias", images["raw"] - images["bias"], sources | brought
        sources |= {name: images[name] for name in OF_MASTERS if name in images}
        if "dark" in images:
            yield "dark", images["net"], sources
        if "flat" in images:
            with np.errstate(divide="ignore", invalid="ignore"):
                sources = {name: values / images["flat"] ** 2 for name, values in sources.items()}
            sources["flat master"] = images["final variance"] - sum(sources.values())
            yield "flat", images["final"], sources

    def _patterns(self) -> None:
        """What neighbouring pixels differ by, step by step, as far as the masters that come later show it.

        The noise of the masters, which is no pattern, is taken out of what they show. Outliers are what would
        be one in the light.
        """
        images, scale = self.images, float(self.task.scale[list(self.task.close)].mean())
        image, noise = np.zeros(self.good.shape), np.zeros(self.good.shape)
        left = {}
        if "flat" in images:
            level = _finite_mean(mean_of(images["final"], self.good))[:, None]
            image, noise = level * images["flat"], level**2 * images["flat variance"]
        left["dark"] = (image, noise)
        if "dark" in images:
            image = image + scale * images["dark"]
            left["bias"] = (image, noise + scale**2 * images["dark variance"])
            noise = noise + (images["dark master"] + images.get("bias master", 0.0)).mean(axis=0)
        else:
            left["bias"] = (image, noise)
            noise = noise + images.get("bias variance", 0.0)
        left["raw"] = (image + images.get("bias", 0.0), noise)
        for step, (image, noise) in left.items():
            if (step, "level") in self.found:
                within = self.found[step, "measured pixels"]
                seen = self.layout.neighbours(np.where(self.good, image, np.nan), within)
                self._put(step, "pattern", seen - mean_of(noise, self.good))

    def _combined(self, last: str) -> None:
        """The mean of all frames: of the same pixels, or of shifted frames where they are dithered."""
        images, task, found = self.images, self.task, self.found
        count = task.lights.sizes["frame"]
        sources = {s: found[last, s] for s in (*OF_A_FRAME, *OF_MASTERS) if (last, s) in found}
        # The masters bring the same to every frame: what differs over all of them is light.
        everything = mean_of(images["all variance"], self.good)
        sources["photons"] = sources["photons"] + everything - sum(sources.values())
        for name, variance in sources.items():
            averages = name in OF_A_FRAME or task.dithered
            self._put("combined", name, variance / count if averages else variance)
        if (last, "pattern") in found:
            self._put("combined", "pattern", found[last, "pattern"] / (count if task.dithered else 1))
        self._put("combined", "level", mean_of(images["mean"], self.good))
        if task.dithered:
            kept = self.good & (images["share"] >= _SHARED)
            seen = self.layout.neighbours(np.where(kept, images["shifted"], np.nan))
            self._put("combined", "measured pixels", seen * mean_of(images["share"], kept))
            return
        seen = self.layout.neighbours(np.where(self.good, images["mean"], np.nan))
        self._put("combined", "measured pixels", seen)
        if "first half" in images:
            halves = [np.where(self.good, images[f"{name} half"], np.nan) for name in ("first", "second")]
            even = count // 2 * 2
            self._put("combined", "measured frames", between(*halves) / 2 * even / count)


def _finite_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the frames of numbers per tile, of those that are finite."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
