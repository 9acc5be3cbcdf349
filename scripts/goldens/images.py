# SPDX-License-Identifier: Apache-2.0
"""Writes fixtures/images/ (every kind of image file that decoding must get right) and fixtures/golden/pixels/decode.json:
what PIL's open + exif_transpose + convert("RGB") makes of each. Run from the repository root."""

import hashlib
import io
import json
import os
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps

OUT = "fixtures/images"
rng = np.random.default_rng(7)


def picture(width, height):
    """Smooth colour, hard edges and a little noise, so that filters, histograms and resampling all have something to do."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([127 + 110 * np.sin(x / 5 + y / 9), 127 + 110 * np.cos(x / 7 - y / 4), 60 + 120 * ((x // 6 + y // 5) % 2)], -1)
    waves[height // 4 : height // 2, width // 3 : width // 2] = (250, 20, 30)
    return Image.fromarray(np.clip(waves + rng.normal(0, 5, waves.shape), 0, 255).astype(np.uint8))


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def raw_png(array, color_type, extra=b"", packed=1):
    """A PNG that PIL does not write itself: 16-bit RGB and friends, odd chunks, several grey pixels in a byte."""
    height, width = array.shape[0], array.shape[1] * packed
    depth = array.dtype.itemsize * 8
    rows = b"".join(b"\0" + row.tobytes() for row in array.astype(f">u{depth // 8}"))
    header = struct.pack(">IIBBBBB", width, height, depth // packed, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows, 9)) + png_chunk(b"IEND", b"")


def without_adobe(jpeg):
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0] :]


def swapped_profile():
    """An sRGB profile with red and blue swapped: whoever applies it shows it."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # made when: the same each time
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


def write_images():
    os.makedirs(OUT, exist_ok=True)
    photo = picture(48, 36)
    alpha = np.dstack([np.array(photo), rng.integers(0, 256, (36, 48))]).astype(np.uint8)
    rgba = Image.fromarray(alpha)
    palette = photo.quantize(16)
    gray = photo.convert("L")
    wide_range = rng.integers(0, 65536, (36, 48, 4)).astype(np.uint16)

    def save(name, image, **options):
        image.save(f"{OUT}/{name}", **options)

    def write(name, data):
        with open(f"{OUT}/{name}", "wb") as file:
            file.write(data)

    def encoded(image, **options):
        buffer = io.BytesIO()
        image.save(buffer, **options)
        return buffer.getvalue()

    save("photo.png", photo)
    save("photo.jpg", photo, quality=85)
    save("progressive.jpg", photo, quality=70, progressive=True)
    save("photo.webp", photo, quality=80)
    save("wide.png", picture(240, 9))
    save("tall.png", picture(7, 150))
    save("tiny.png", picture(10, 10))
    save("pixel.png", picture(1, 1))
    save("flat.png", Image.new("RGB", (20, 15), (90, 200, 7)))
    save("gray.png", gray)
    save("gray.jpg", gray)
    save("one-bit.png", photo.convert("1"))
    save("rgba.png", rgba)
    save("rgba.webp", rgba, lossless=True, exact=True)
    save("gray-alpha.png", rgba.convert("LA"))
    save("palette.png", palette)
    save("palette-alpha.png", palette, transparency=bytes(range(0, 256, 16)))
    save("color-key.png", photo, transparency=(10, 20, 30))
    save("animated.gif", palette, save_all=True, append_images=[photo.rotate(90).quantize(16)], loop=0)
    save("transparent.gif", palette, transparency=3)
    save("interlaced.gif", palette, interlace=True)
    save("animated.webp", photo, save_all=True, append_images=[photo.rotate(180)], lossless=True)
    save("animated.png", photo, save_all=True, append_images=[photo.rotate(180)])
    save("cmyk.jpg", photo.convert("CMYK"))
    write("cmyk-plain.jpg", without_adobe(encoded(photo.convert("CMYK"), format="jpeg")))
    save("photo.tif", photo, compression="tiff_lzw")
    save("cmyk.tif", photo.convert("CMYK"), compression="tiff_lzw")
    save("gray16.png", Image.fromarray(np.array(gray).astype(np.uint16) * 2))
    save("gray16.tif", Image.fromarray(np.array(gray).astype(np.uint16) * 2))
    write("rgb16.png", raw_png(wide_range[..., :3], 2))
    write("rgba16.png", raw_png(wide_range, 6))
    write("gray16-key.png", raw_png(np.array(gray).astype(np.uint16) * 2, 0, png_chunk(b"tRNS", struct.pack(">H", 300))))
    write("gray4.png", raw_png(np.array(gray)[:, ::2], 0, packed=2))
    write("gray2.png", raw_png(np.array(gray)[:, ::4], 0, packed=4))
    write("gray-alpha16.png", raw_png(wide_range[..., :2], 4))
    write("gamma.png", raw_png(np.array(photo), 2, png_chunk(b"gAMA", struct.pack(">I", 100000))))
    save("profile.png", photo, icc_profile=swapped_profile())
    save("profile.jpg", photo, icc_profile=swapped_profile())
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        save(f"exif-{orientation}.jpg", photo, exif=exif)
    save("exif-6.png", photo, exif=exif_of(6))
    save("exif-6.webp", photo, exif=exif_of(6), lossless=True)
    save("exif-6.tif", photo, tiffinfo={274: 6})
    jpeg = encoded(photo, format="jpeg")
    write("truncated.jpg", jpeg[: len(jpeg) // 2])
    write("truncated.png", encoded(photo, format="png")[:1500])
    bomb = bytearray(encoded(photo, format="png"))
    bomb[16:24] = struct.pack(">II", 60000, 60000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bytes(bomb[12:29])))
    write("bomb.png", bytes(bomb))
    write("empty.png", b"")
    write("text.png", b"not an image\n")
    save("photo.bmp", Image.new("RGB", (4, 4), (1, 2, 3)))
    write("drawing.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def as_rgb(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


def main():
    write_images()
    images = {}
    for name in sorted(os.listdir(OUT)):
        try:
            rgb = as_rgb(f"{OUT}/{name}")
        except (OSError, SyntaxError, Image.DecompressionBombError):
            continue
        images[name] = {"width": rgb.width, "height": rgb.height, "sha256": hashlib.sha256(rgb.tobytes()).hexdigest()}
    golden = {"made_by": "scripts/goldens/images.py", "versions": {"Pillow": PIL.__version__, "numpy": np.__version__}, "images": images}
    with open("fixtures/golden/pixels/decode.json", "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


main()
