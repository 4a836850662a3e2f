import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from trilemma.data import folders
from trilemma.data.folders import ImageFiles, SkippedFilesWarning, find_images, load_folder, read_image, save_image

RANDOM = np.random.default_rng(0)
COLOR = RANDOM.integers(0, 256, (6, 8, 3), np.uint8)
GREY = RANDOM.integers(0, 256, (6, 8), np.uint8)


def write_png(path, bits, kind, rows, *chunks, width=4):
    """Write a PNG by raw chunks, so that no encoder stands between the test and the bytes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def luma(color):
    return np.asarray(color) @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize(
    "ending, options",
    [("png", {}), ("bmp", {}), ("tif", {}), ("tiff", {"compression": "tiff_lzw"}), ("webp", {"lossless": True})],
)
def test_lossless_color_and_luma(tmp_path, ending, options):
    path = save(tmp_path / f"a.{ending}", COLOR, **options)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.flags.writeable and np.array_equal(image, COLOR)
    assert np.abs(read_image(path, channels=1)[..., 0] - luma(COLOR)).max() <= 1


def test_jpeg_modes(tmp_path):
    assert (
        np.abs(read_image(save(tmp_path / "r.jpg", Image.new("RGB", (8, 8), (200, 30, 60)))) - (200, 30, 60.0)).max()
        < 4
    )
    assert np.abs(read_image(save(tmp_path / "g.jpg", Image.new("L", (8, 8), 77))) - 77.0).max() <= 1
    for ink, color in [((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 0), (255,) * 3), ((0, 0, 0, 255), (0,) * 3)]:
        path = save(tmp_path / "c.jpg", Image.new("CMYK", (8, 8), ink), quality=95)
        assert np.abs(read_image(path) - np.float64(color)).max() <= 3


def test_few_bits(tmp_path):
    one = read_image(save(tmp_path / "1.png", Image.fromarray(GREY > 127)))
    assert np.array_equal(one, np.repeat((GREY > 127)[..., None] * 255, 3, axis=2))
    for bits, row, expected in [(2, b"\x1b", [0, 85, 170, 255]), (4, b"\x05\xaf", [0, 85, 170, 255])]:
        assert read_image(write_png(tmp_path / "n.png", bits, 0, [row]), channels=1)[0, :, 0].tolist() == expected
        # The transparent colour is the third level, which is 170 of 255.
        key = struct.pack(">H", 170 * (2**bits - 1) // 255)
        path = write_png(tmp_path / "k.png", bits, 0, [row], (b"tRNS", key))
        assert read_image(path, background="red")[0].tolist() == [[0] * 3, [85] * 3, [255, 0, 0], [255] * 3]


def test_sixteen_bits(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.floor(ramp / 257 + 0.5)
    big_endian = Image.frombytes("I;16B", ramp.shape, ramp.astype(">u2").tobytes())
    for name, image in [("a.png", ramp), ("a.tif", ramp), ("b.tif", big_endian), ("i.tif", ramp.astype(np.int32))]:
        path = save(tmp_path / name, image)
        assert np.array_equal(read_image(path, channels=1)[..., 0], expected), name
    assert np.array_equal(read_image(path), np.repeat(expected[..., None], 3, axis=2))
    inverted = save(tmp_path / "w.tif", ramp, tiffinfo={262: 0})  # WhiteIsZero
    assert np.array_equal(read_image(inverted, channels=1)[..., 0], np.floor((65535 - ramp) / 257 + 0.5))
    rows = [struct.pack(">12H", *[0x1234, 0x5678, 0x9ABC] * 2, *[65535] * 6)]
    path = write_png(tmp_path / "c.png", 16, 2, rows, (b"tRNS", rows[0][:6]))
    assert read_image(path, background=(1, 2, 3))[0].tolist() == [[1, 2, 3]] * 2 + [[255] * 3] * 2
    path = write_png(tmp_path / "k.png", 16, 0, [struct.pack(">4H", 257, 258, 514, 65535)], (b"tRNS", b"\1\1"))
    assert read_image(path, background="red")[0].tolist() == [[255, 0, 0], [1] * 3, [2] * 3, [255] * 3]
    # Halves of 127.25 + 1: the mean of the two values is 128.25 only if nothing was rounded before.
    steps = np.tile(np.uint16([127.4 * 257, 128.4 * 257]), (8, 4))
    assert set(read_image(save(tmp_path / "s.png", steps), 1).ravel()) == {128}


@pytest.mark.parametrize("values", [[[70000]], [[-1]], [[0.5]]])
def test_values_beyond_sixteen_bits(tmp_path, values):
    array = np.array(values, np.float32 if values == [[0.5]] else np.int32)
    with pytest.raises(ValueError, match=rf"x\.tif.*{values[0][0]}.*save it as PNG of 8 or 16 bits"):
        read_image(save(tmp_path / "x.tif", array))


@pytest.mark.parametrize("background, behind", [("white", (255, 255, 255)), ((10, 200, 90), (10, 200, 90))])
def test_transparency(tmp_path, background, behind):
    alpha = RANDOM.integers(0, 256, GREY.shape, np.uint8)
    share = alpha[..., None] / 255
    rgba, grey_alpha = np.dstack([COLOR, alpha]), np.dstack([GREY, alpha])
    for array, front in [(rgba, COLOR), (grey_alpha, GREY[..., None])]:
        expected = share * front + (1 - share) * behind
        for name in ("a.png", "a.tif"):
            path = save(tmp_path / name, array)
            assert np.abs(read_image(path, background=background) - expected).max() <= 1
            assert np.abs(read_image(path, channels=1, background=background)[..., 0] - luma(expected)).max() <= 2
    data = path.read_bytes()  # the grey TIFF, whose tag ExtraSamples becomes 1: values multiplied by alpha
    path.write_bytes(data.replace(struct.pack("<HHIHH", 338, 3, 1, 2, 0), struct.pack("<HHIHH", 338, 3, 1, 1, 0)))
    expected = np.minimum(GREY[..., None] + (1 - share) * behind, 255)
    dim = alpha >= np.maximum(GREY, 64)
    assert Image.open(path).mode == "La" and np.abs(read_image(path, background=background) - expected)[dim].max() <= 2


def test_transparent_palette_and_key(tmp_path):
    palette = (b"PLTE", bytes([250, 0, 0, 0, 250, 0, 0, 0, 250, 9, 9, 9]))
    path = write_png(tmp_path / "p.png", 2, 3, [b"\x1b"], palette, (b"tRNS", bytes([0, 51])))
    assert np.abs(read_image(path)[0] - [[255.0] * 3, [204, 254, 204], [0, 0, 250], [9] * 3]).max() <= 1
    image = Image.new("P", (4, 1), 1)
    image.putpalette([1, 2, 3, 40, 50, 60])
    image.putpixel((0, 0), 0)
    assert read_image(save(tmp_path / "p.gif", image, transparency=0), background="blue")[0, 0].tolist() == [0, 0, 255]
    image.putalpha(0)
    assert set(read_image(save(tmp_path / "pa.tif", image.convert("PA"))).ravel()) == {255}
    for name, array, key in [("l.png", np.uint8([[7, 8]]), 7), ("c.png", np.uint8([[[7] * 3, [8] * 3]]), (7,) * 3)]:
        assert read_image(save(tmp_path / name, array, transparency=key))[0].tolist() == [[255] * 3, [8] * 3]


def test_orientation(tmp_path):
    turns = {1: COLOR, 2: COLOR[:, ::-1], 3: COLOR[::-1, ::-1], 4: COLOR[::-1], 5: COLOR.transpose(1, 0, 2)}
    turns |= {6: np.rot90(COLOR, -1), 7: np.rot90(COLOR, 2).transpose(1, 0, 2), 8: np.rot90(COLOR)}
    for ending in ("png", "tif", "webp"):
        for orientation, expected in turns.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = save(tmp_path / ending / str(orientation) / f"a.{ending}", COLOR, exif=exif, lossless=True)
            assert np.array_equal(read_image(path), expected), (ending, orientation)
            assert np.array_equal(load_folder(path.parent)[0][0], expected), (ending, orientation)


def test_size(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    for name, array in [("b.png", board), ("b1.png", board > 0), ("b16.png", board * np.uint16(257))]:
        assert set(read_image(save(tmp_path / name, array), 16).ravel()) <= {127, 128}
    edge = np.repeat(np.uint8([[0] * 32 + [255] * 32]), 64, axis=0)  # Lanczos overshoots on both sides
    deep = read_image(save(tmp_path / "e16.png", edge * np.uint16(257)), 24).astype(int)
    assert np.abs(deep - read_image(save(tmp_path / "e.png", edge), 24)).max() <= 1
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, :10, 0] = wide[:, 10:30, 1] = wide[:, 30:, 2] = 255  # a green square between red and blue
    path = save(tmp_path / "w.png", wide)
    assert np.array_equal(read_image(path, 20), wide[:, 10:30])
    assert np.abs(read_image(path, (10, 10)) - [0.0, 255, 0]).max() < 30  # Lanczos looks beyond the crop
    assert np.array_equal(read_image(path, (20, 40)), wide) and read_image(path, (5, 9)).shape == (5, 9, 3)
    assert read_image(save(tmp_path / "one.png", np.uint8([[[1, 2, 3]]])), 2).tolist() == [[[1, 2, 3]] * 2] * 2


def test_wrong_arguments(tmp_path):
    path = save(tmp_path / "a.png", COLOR)
    wrong = [("background", "whit"), ("background", (0, 0, 256)), ("background", (0, 0)), ("channels", 2)]
    for name, value in [*wrong, ("image_size", 0), ("image_size", (4, 4, 3)), ("image_size", 4.5)]:
        for read, source in [(read_image, path), (load_folder, tmp_path)]:
            with pytest.raises(ValueError, match=f"^{name}=.*expected") as error:
                read(source, **{name: value})
            assert repr(value) in str(error.value)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_cut_files(tmp_path, ending):
    path = save(tmp_path / f"a.{ending}", RANDOM.integers(0, 256, (64, 64, 3), np.uint8))
    data = path.read_bytes()
    for share in (0, 0.01, 0.2, 0.5, 0.9, 0.98):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match=rf"a\.{ending} is damaged or no image \(.+\); remove"):
            read_image(path)


def test_no_images(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="a.png is damaged or no image"):
        load_folder(tmp_path)
    save(tmp_path / "a.png", COLOR)
    # Pillow would start Ghostscript for this one.
    (tmp_path / "e.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match="e.png is damaged or no image .cannot identify"):
        read_image(tmp_path / "e.png")
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "absent.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with pytest.raises(ValueError, match="a.png is damaged or no image.*bomb"):
        read_image(tmp_path / "a.png")


def test_find_images(tmp_path):
    for name in ("train/b/2.JPG", "train/b/1.png", "train/a/deep/3.tiff", "test/a/4.bmp", "test/b/5.webp"):
        save(tmp_path / name, COLOR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths, labels, class_names = find_images(tmp_path)
        assert [path.name for path in paths] == ["3.tiff", "1.png", "2.JPG"] and class_names == ("a", "b")
        assert labels.dtype == np.int32 and labels.tolist() == [0, 1, 1]
        assert [path.name for path in find_images(str(tmp_path), "test")[0]] == ["4.bmp", "5.webp"]
        paths, labels, class_names = find_images(tmp_path / "train" / "b")
        assert [path.name for path in paths] == ["1.png", "2.JPG"] and class_names == () and labels.tolist() == [0, 0]
    save(tmp_path / "train" / "0.png", COLOR)
    with pytest.raises(ValueError, match=r"3\.tiff|1\.png|2\.JPG") as error:
        find_images(tmp_path)
    assert "0.png" in str(error.value)


def test_missing(tmp_path):
    path = save(tmp_path / "set" / "train" / "a.png", COLOR)
    with pytest.raises(FileNotFoundError, match="set has no split 'test'.*expected.*test"):
        find_images(tmp_path / "set", "test")
    with pytest.raises(ValueError, match="'train' and 'test'"):
        find_images(path.parent, "test")
    with pytest.raises(ValueError, match="'valid'"):
        find_images(tmp_path / "set", "valid")
    with pytest.raises(FileNotFoundError, match="absent"):
        find_images(tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match="a.png is a file"):
        find_images(path)
    path.unlink()
    with pytest.raises(ValueError, match="no image"):
        find_images(tmp_path / "set")


def test_skipped_files_are_named_once(tmp_path):
    save(tmp_path / "a" / "1.png", COLOR)
    for name in ("a/._1.png", "a/0.txt", "a/1.txt", "a/2.txt", "b/3.txt", "notes.md", "empty"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x") if "." in name else (tmp_path / name).mkdir()
    with pytest.warns(SkippedFilesWarning, match=r"6 .*notes\.md.* and 1 more.*: b, empty") as record:
        images, labels, class_names = load_folder(tmp_path)
    assert len(record) == 1 and len(images) == 1 and class_names == ("a", "b", "empty") and labels.tolist() == [0]


def test_load_folder_channels_and_sizes(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", GREY * np.uint16(257))
    save(tmp_path / "c.png", GREY > 9)
    images, labels, class_names = load_folder(tmp_path)
    assert np.array_equal(images[..., 0], [GREY, GREY, (GREY > 9) * 255]) and images.shape[-1] == 1
    assert load_folder(tmp_path, channels=3)[0].shape == (3, 6, 8, 3)
    save(tmp_path / "d.png", COLOR[:5])
    with pytest.raises(ValueError, match=r"a\.png has \(6, 8\) but .*d\.png has \(5, 8\).*image_size="):
        load_folder(tmp_path)
    assert load_folder(tmp_path, image_size=(4, 5))[0].shape == (4, 4, 5, 3)


def test_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), color) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for name in ("1.gif", "2.png", "3.tif", "4.webp"):
        save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    save(tmp_path / "0.gif", frames[1])
    with pytest.warns(UserWarning, match=r"first frame.* 4 .*1\.gif") as record:
        images, _, _ = load_folder(tmp_path)
    assert len(record) == 1 and np.abs(images[1:] - np.float64([255, 0, 0])).max() <= 2


def test_streamed_files_equal_the_array(tmp_path, monkeypatch):
    for place in range(7):
        save_image(tmp_path / f"{place}.png", RANDOM.integers(0, 256, (6, 8, 3), np.uint8))
    array, _, _ = load_folder(tmp_path)
    monkeypatch.setattr(folders, "STREAM_BYTES", array.nbytes)
    assert isinstance(load_folder(tmp_path)[0], np.ndarray)
    monkeypatch.setattr(folders, "STREAM_BYTES", 0)
    files, _, _ = load_folder(tmp_path)
    assert isinstance(files, ImageFiles) and len(files) == 7
    assert (files.shape, files.dtype, files.ndim, files.nbytes) == (array.shape, np.uint8, 4, array.nbytes)
    for index in (0, -1, np.int64(3), slice(None), slice(5, 1, -2), slice(9, 12), np.array([3, 0, 0, -2]), [1, 2]):
        assert files[index].dtype == np.uint8 and np.array_equal(files[index], array[index]), index
    with pytest.raises(IndexError):
        files[7]
    resized = load_folder(tmp_path, image_size=4, channels=1)[0]
    monkeypatch.undo()
    assert np.array_equal(resized[:], load_folder(tmp_path, image_size=4, channels=1)[0])
    path = tmp_path / "4.png"
    path.write_bytes(path.read_bytes()[:-60])  # cut in its pixels, with a sound header
    assert files[3].shape == (6, 8, 3)
    for index in (4, slice(None)):
        with pytest.raises(ValueError, match="4.png is damaged"):
            files[index]
    save(path, COLOR[:5])
    with pytest.raises(ValueError, match=r"4.png has the shape \(5, 8, 3\)"):
        files[4]


def test_save_image(tmp_path):
    for image in (COLOR, COLOR[..., :1], COLOR[:, ::-1]):
        save_image(tmp_path / "a.png", image)
        assert np.array_equal(read_image(tmp_path / "a.png", channels=image.shape[-1]), image)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (COLOR / 255, GREY, np.zeros((2, 2, 4), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            save_image(tmp_path / "b.png", wrong)


def test_a_class_that_one_split_lacks_does_not_shift_the_labels(tmp_path):
    for split, names in {"train": ("dog",), "test": ("cat", "dog")}.items():
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            folders.save_image(tmp_path / split / name / "0.png", np.zeros((2, 2, 1), "uint8"))
    with pytest.warns(folders.SkippedFilesWarning, match="1 folders without an image: cat"):
        _, labels, names = folders.find_images(tmp_path, "train")
    assert (labels.tolist(), names) == ([1], ("cat", "dog"))
    assert folders.find_images(tmp_path, "test")[1].tolist() == [0, 1]
