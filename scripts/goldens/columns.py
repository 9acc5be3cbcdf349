#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Column files for the import tests: Parquet and Arrow as pyarrow and the datasets library write them, and what their rows
are as JSON. Run from the repository's root; writes fixtures/records/columns/. pyarrow 25.0.1, datasets 5.0.1."""
import base64, decimal, datetime, json, pathlib, shutil

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path("fixtures/records/columns")
PNG = pathlib.Path("fixtures/images/tiny.png").read_bytes()
GIF = bytes.fromhex("47494638396101000100800000ff0000ffffff2c00000000010001000002024401003b")
DIGITS = [675127116845989801, 675127116845989802, 7]


def uri(kind, data):
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


def image_struct(data, path=None):
    return {"bytes": data, "path": path}


def table():
    """Every kind of column that is read."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    utc = datetime.timezone.utc
    return pa.table({
        "id": pa.array(DIGITS, pa.int64()),
        "prompt": pa.array(["What is it?", "h\u00e9llo \U0001f600", "text"], pa.string()),
        "images": pa.array([[image_struct(PNG, "a/b.png"), image_struct(GIF)], [image_struct(None, "there.png")], None], pa.list_(image)),
        "raw": pa.array([PNG, b"\x00\xff\x80", None], pa.binary()),
        "unsigned": pa.array([2**64 - 1, 2**53, 3], pa.uint64()),
        "small": pa.array([4294967295, 0, None], pa.uint32()),
        "price": pa.array([decimal.Decimal("12.50"), decimal.Decimal("-0.01"), None], pa.decimal128(20, 2)),
        "day": pa.array([datetime.date(2026, 1, 31), datetime.date(1969, 12, 31), None]),
        "local": pa.array([datetime.datetime(2026, 1, 31, 12, 0, 0, 1), None, None], pa.timestamp("us")),
        "zoned": pa.array([datetime.datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=utc), None, None], pa.timestamp("us", tz="UTC")),
        "clock": pa.array([datetime.time(1, 2, 3, 4), None, None], pa.time64("us")),
        "flag": pa.array([True, None, False]),
        "score": pa.array([0.5, -3.25, None], pa.float64()),
        "half": pa.array([0.5, 1.5, None], pa.float16()),
        "turns": pa.array([[{"role": "user", "n": 2**60 + 1}], [], None], pa.list_(pa.struct([("role", pa.string()), ("n", pa.int64())]))),
        "counts": pa.array([[("a", 1), ("b", 2**62 + 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    })


def expected():
    """The rows as JSON texts, digits and all."""
    rows = [
        {"id": DIGITS[0], "prompt": "What is it?", "images": [uri("png", PNG), uri("gif", GIF)], "raw": uri("png", PNG), "unsigned": 2**64 - 1,
         "small": 4294967295, "price": 12.5, "day": "2026-01-31", "local": "2026-01-31T12:00:00.000001", "zoned": "2026-01-31T12:00:00.000001Z",
         "clock": "01:02:03.000004", "flag": True, "score": 0.5, "half": 0.5, "turns": [{"role": "user", "n": 2**60 + 1}], "counts": {"a": 1, "b": 2**62 + 1}, "kind": "x"},
        {"id": DIGITS[1], "prompt": "h\u00e9llo \U0001f600", "images": ["there.png"], "raw": base64.b64encode(b"\x00\xff\x80").decode(), "unsigned": 2**53,
         "small": 0, "price": -0.01, "day": "1969-12-31", "local": None, "zoned": None, "clock": None, "flag": None, "score": -3.25, "half": 1.5, "turns": [], "counts": {}, "kind": "y"},
        {"id": DIGITS[2], "prompt": "text", "images": None, "raw": None, "unsigned": 3, "small": None, "price": None, "day": None, "local": None,
         "zoned": None, "clock": None, "flag": False, "score": None, "half": None, "turns": None, "counts": None, "kind": "x"},
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows) + "\n"
    return text.replace('"price":12.5,', '"price":12.50,')


def write_arrow(name, data, codec=None, as_file=False):
    make = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with make(str(OUT / name), data.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(data, max_chunksize=2)


def preference_rows():
    rows = {"id": ["a", "b", "c"], "images": [[PNG], [GIF], [PNG, GIF]], "prompt": ["q1", "q2", "q3"], "chosen": ["c1", "c2", "c3"], "rejected": ["r1", "r2", "r3"]}
    rows["images"] = [[image_struct(data) for data in row] for row in rows["images"]]
    features = datasets.Features({"id": datasets.Value("string"), "images": datasets.List(datasets.Image()),
                                  **{name: datasets.Value("string") for name in ("prompt", "chosen", "rejected")}})
    return datasets.Dataset.from_dict(rows, features=features)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    data = table()
    (OUT / "expected.ndjson").write_text(expected())
    for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
        pq.write_table(data, OUT / f"{codec}.parquet", compression=codec, row_group_size=2)
    write_arrow("stream.arrow", data)
    write_arrow("zstd.arrow", data, "zstd")
    write_arrow("lz4.arrow", data, "lz4")
    write_arrow("file.arrow", data, as_file=True)
    large = pa.table({"id": pa.array(["a"], pa.large_string()), "prompt": pa.array(["q"], pa.string_view()), "image": pa.array([PNG], pa.large_binary()),
                      "list": pa.array([[1, 2]], pa.large_list(pa.int64()))})
    write_arrow("large.arrow", large)
    write_arrow("duration.arrow", pa.table({"id": ["a"], "took": pa.array([1], pa.duration("s"))}))
    pq.write_table(pa.table({"id": ["a"], "value": [float("nan")]}), OUT / "nan.parquet")
    saved = preference_rows()
    saved.to_parquet(str(OUT / "datasets.parquet"))
    saved.save_to_disk(str(OUT / "saved"), num_shards=2)
    datasets.DatasetDict({"train": saved.select(range(2)), "test": saved.select([2])}).save_to_disk(str(OUT / "splits"))


if __name__ == "__main__":
    main()
