"""Folders of image files, read by Pillow into uint8 arrays."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # never EPS, for which Pillow would start Ghostscript
SPLITS = ("train", "test")
STREAM_BYTES = 2**30
ORIENTATION, WHITE_IS_ZERO = 0x0112, 0x0106  # tags of EXIF and TIFF


class SkippedFilesWarning(UserWarning):
    """A folder holds files that are no images, or class folders without an image."""


@contextmanager
def _opened(path):
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                yield image
        except Exception as error:  # decoders raise nearly every type of error on damaged bytes
            reason = str(error) or type(error).__name__
            message = f"{path} is damaged or no image ({reason}); remove it or replace it by a PNG or JPEG file"
            raise ValueError(message) from error


def _checked(image_size, channels, background):
    """Return image_size as None or (height, width) and background as (r, g, b)."""
    if channels not in (1, 3):
        raise ValueError(f"channels={channels!r}: expected 1 for grey or 3 for colour")
    try:
        color = np.asarray(ImageColor.getcolor(background, "RGB") if isinstance(background, str) else background)
    except ValueError:
        color = np.zeros(0)
    if color.shape != (3,) or color.dtype.kind not in "iu" or color.min() < 0 or color.max() > 255:
        raise ValueError(f"background={background!r}: expected a name as 'white' or (r, g, b) from 0 to 255")
    if image_size is not None:
        sides = np.asarray(image_size)
        if sides.shape not in ((), (2,)) or sides.dtype.kind not in "iu" or sides.min() < 1:
            raise ValueError(f"image_size={image_size!r}: expected None, a side or (height, width) from 1 pixel up")
        image_size = tuple(np.broadcast_to(sides, 2).tolist())
    return image_size, tuple(color.tolist())


def read_image(path, image_size=None, channels=3, background="white"):
    """Read one PNG, JPEG, WebP, GIF (first frame), BMP or TIFF file, turned upright by its EXIF orientation.

    Args:
        path: File to read.
        image_size: None for the size in the file, or a side, or (height, width) in pixels. The picture is cropped
            about its centre to that aspect ratio, then resized with antialiasing.
        channels: 3, where grey is repeated, or 1, where colour becomes its luma.
        background: Colour behind transparent pixels, a name or (r, g, b) from 0 to 255.

    Returns:
        uint8 (height, width, channels). Greys of 16 bits are divided by 257 and rounded.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or no image, its values are not those of 8 or 16 bits, or an argument is wrong.
    """
    size, color = _checked(image_size, channels, background)
    with _opened(path) as image:
        # Pillow scales the pixels of these PNGs to 8 bits but leaves the transparent colour as it is in the file.
        key, raw_mode = image.info.get("transparency"), image.tile[0].args if image.tile else None
        if key is not None and raw_mode in ("L;2", "L;4"):
            image.info["transparency"] = key * (85 if raw_mode == "L;2" else 17)
        elif key is not None and raw_mode == "RGB;16B":
            image.info["transparency"] = tuple(value >> 8 for value in key)
        ImageOps.exif_transpose(image, in_place=True)  # loads the pixels, too

    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            found = f"{values.min()} to {values.max()} in Pillow's mode {image.mode!r}"
            raise ValueError(f"{path} holds values from {found}; expected 0 to 65535: save it as PNG of 8 or 16 bits")
        if image.mode != "I" and getattr(image, "tag_v2", {}).get(WHITE_IS_ZERO) == 0:
            values = 65535 - values  # Pillow inverts such TIFFs up to 8 bits only
        if key is None:
            image = Image.fromarray((values / 257).astype(np.float32))
        else:
            bands = [np.rint(values / 257), np.where(values == key, 0, 255)]
            image = Image.fromarray(np.stack(bands, axis=-1).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("LA") if image.mode == "La" else image  # Pillow knows no way from La to RGBA
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*color, 255)), image.convert("RGBA"))
    if image.mode not in ("1", "L", "F"):
        image = image.convert("RGB")
    if image.mode == "1" or (image.mode == "RGB" and channels == 1):
        image = image.convert("L")
    if size is not None:
        image = ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    if image.mode == "F":
        pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return np.repeat(pixels, channels // pixels.shape[-1], axis=-1)


def save_image(path, image):
    """Write one image as PNG.

    Args:
        path: File to write.
        image: uint8 (height, width, 1 or 3).

    Raises:
        ValueError: The array has another type or shape.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 (height, width, 1 or 3)")
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path, format="PNG")


def find_images(folder, split="train"):
    """List the image files of one split of a folder.

    Args:
        folder: Holds the images, in one sub-folder a class or directly, or the sub-folders `train` and `test` which do.
        split: "train" or "test". A folder without those two sub-folders is all "train".

    Returns:
        Paths in sorted order, class by class; labels int32 (n,); names of the classes in sorted order, () if there
        are no class folders. What lies in them is found at any depth; hidden files and folders are skipped.

    Raises:
        FileNotFoundError: There is no such folder, or it lacks the split.
        NotADirectoryError: `folder` is a file.
        ValueError: No image, images both in class folders and beside them, no splits, or another split.
    """
    folder = Path(folder)
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected 'train' or 'test'")
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}; expected one that holds images")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected the folder that holds the images")
    in_splits = any((folder / name).is_dir() for name in SPLITS)
    if in_splits:
        if not (folder / split).is_dir():
            raise FileNotFoundError(f"{folder} has no split {split!r}; expected the sub-folder {folder / split}")
        folder = folder / split
    elif split == "test":
        raise ValueError(f"{folder} has no split 'test'; sort its images into the sub-folders 'train' and 'test'")

    # A class that one split lacks must not shift the labels of the other.
    both = [folder.parent / name for name in SPLITS] if in_splits else [folder]
    entries = [entry for each in both if each.is_dir() for entry in each.iterdir() if entry.is_dir()]
    classes = [folder / name for name in sorted({entry.name for entry in entries if not entry.name.startswith(".")})]
    listings = [
        (-1, folder.iterdir()),
        *((label, entry.rglob("*")) for label, entry in enumerate(classes) if entry.is_dir()),
    ]
    files = [(path, label) for label, listing in listings for path in sorted(listing) if not path.is_dir()]
    names = [path.relative_to(folder) for path, _ in files]
    chosen = [name.suffix.lower() in ENDINGS and not any(part[0] == "." for part in name.parts) for name in names]
    images = [file for file, is_image in zip(files, chosen, strict=True) if is_image]
    skipped = [str(name) for name, is_image in zip(names, chosen, strict=True) if not is_image]
    if not images:
        raise ValueError(f"{folder} holds no image; expected files that end in {' '.join(ENDINGS)}")
    paths, labels = [path for path, _ in images], np.array([label for _, label in images], np.int32)
    if labels[0] < 0 <= labels[-1]:
        both = f"images in class folders ({paths[-1]}) and beside them ({paths[0]})"
        raise ValueError(f"{folder} holds {both}; move the latter into a class folder, too")
    used = set(labels.tolist())
    empty = [entry.name for label, entry in enumerate(classes) if label not in used]
    notes = []
    for names, what in ((skipped, "files skipped, no images by their names"), (empty, "folders without an image")):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            notes.append(f"{len(names)} {what}: {', '.join(names[:5])}{more}")
    if notes:
        warnings.warn(f"{folder}: {'; '.join(notes)}", SkippedFilesWarning, stacklevel=2)
    if labels[0] < 0:
        return paths, np.zeros_like(labels), ()
    return paths, labels, tuple(entry.name for entry in classes)


def _read_header(path):
    """Return (height, width) upright, whether the file is grey, and whether it has several frames."""
    with _opened(path) as image:
        # A PNG without EXIF ahead of its pixels would decode them all in getexif; TIFF sizes are upright already.
        known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        turned = known and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        several = image.format != "MPO" and getattr(image, "is_animated", False)  # MPO: a photo with its previews
        grey = image.mode in ("1", "L", "LA", "La", "I") or image.mode.startswith("I;16")
        return image.size if turned else image.size[::-1], grey, several


class ImageFiles:
    """Image files as a read-only uint8 array (n, height, width, channels), decoded when indexed.

    Args:
        paths: The files, n of them.
        shape: (height, width, channels) of each image.
        image_size: As in `read_image`; None expects all files in the size of `shape`.
        background: As in `read_image`.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, paths, shape, image_size=None, background="white"):
        self.shape = (len(paths), *shape)
        self._paths, self._image_size, self._background = list(paths), image_size, background
        self._positions = np.arange(len(paths))

    @property
    def nbytes(self):
        return math.prod(self.shape)

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, index):
        """Return (height, width, channels) for an integer, (k, height, width, channels) for a slice or k integers."""
        positions = self._positions[index]
        if positions.ndim == 0:
            return self._read(positions)
        images = np.empty((positions.size, *self.shape[1:]), np.uint8)

        def fill(place):
            images[place] = self._read(positions.flat[place])

        with ThreadPoolExecutor() as pool:
            list(pool.map(fill, range(positions.size)))
        return images.reshape(*positions.shape, *self.shape[1:])

    def _read(self, position):
        path = self._paths[position]
        image = read_image(path, self._image_size, self.shape[-1], self._background)
        if image.shape != self.shape[1:]:
            raise ValueError(f"{path} has the shape {image.shape}; expected {self.shape[1:]}: set image_size=")
        return image


def load_folder(folder, split="train", image_size=None, channels=None, background="white"):
    """Read all images of one split of a folder.

    Args:
        folder: As in `find_images`.
        split: "train" or "test".
        image_size: As in `read_image`; None expects all files in one size.
        channels: 1 or 3; None is 1 if all files are grey, else 3.
        background: As in `read_image`.

    Returns:
        Images uint8 (n, height, width, channels), as an array, or as `ImageFiles` above STREAM_BYTES; labels int32
        (n,) and class names as from `find_images`.

    Raises:
        FileNotFoundError: There is no such folder, or it lacks the split.
        NotADirectoryError: `folder` is a file.
        ValueError: A file is damaged, sizes differ without image_size, or what `find_images` refuses.
    """
    size, _ = _checked(image_size, channels or 3, background)
    paths, labels, class_names = find_images(folder, split)
    with ThreadPoolExecutor() as pool:
        sizes, greys, several = zip(*pool.map(_read_header, paths), strict=True)
    if size is None and len(set(sizes)) > 1:
        other = next(place for place, found in enumerate(sizes) if found != sizes[0])
        found = " but ".join(f"{paths[place]} has {sizes[place]}" for place in (0, other))
        raise ValueError(f"{found} as (height, width); expected one size: set image_size=, as image_size={sizes[0][0]}")
    if any(several):
        first = paths[several.index(True)]
        warnings.warn(f"only the first frame is read of {sum(several)} files with several: {first}", stacklevel=2)
    shape = (*(size or sizes[0]), channels or (1 if all(greys) else 3))
    images = ImageFiles(paths, shape, size, background)
    return images if images.nbytes > STREAM_BYTES else images[:], labels, class_names
