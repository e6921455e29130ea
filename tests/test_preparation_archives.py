"""Archives of videos: unpacked once, resumed, and refused where they are damaged or dangerous."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

pytest.importorskip("pydantic")
from eval.whole_file import DRAFT
from video_qa.preparation import unpack as unpacking
from video_qa.preparation.archives import find_archives
from video_qa.preparation.data_set import DataSet, PreparationError
from video_qa.preparation.unpack import unpack

SIZES = {"a.mp4": 3000, "deep/b.mp4": 9000, "c.mp4": 1500, "notes.txt": 20}
VIDEOS = {name: os.urandom(size) for name, size in SIZES.items()}
PARTS = 3


def place(member: str) -> str | None:
    name = member.partition("/")[2]
    return name if name.endswith(".mp4") else None


def data_set(parts: int | None = None) -> DataSet:
    return DataSet(
        lambda source, videos, findings: (),
        {"x/x.json": None},
        source="nowhere",
        archives=("*.zip", "x.tar.part*"),
        parts=parts,
        place=place,
    )


def write_zip(folder: Path, files: Mapping[str, bytes] = VIDEOS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "x.zip"


def write_tar(folder: Path, change: Callable[[tarfile.TarFile], None] | None = None) -> list[Path]:
    """A tar in `PARTS` parts, cut as `split` cuts."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in VIDEOS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if change is not None:
            change(archive)
    data, size = whole.getvalue(), -(-len(whole.getvalue()) // PARTS)
    paths = [folder / f"x.tar.parta{'abc'[i]}" for i in range(PARTS)]
    for i, path in enumerate(paths):
        path.write_bytes(data[i * size : (i + 1) * size])
    return paths


WRITERS = {"zip": write_zip, "tar": write_tar}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", WRITERS)
def test_what_is_needed_comes_out_and_a_second_call_writes_nothing(tmp_path, kind):
    WRITERS[kind](tmp_path / "in")
    done = unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert (done.num_archives, done.num_written, done.num_there, done.num_left_out) == (1, 3, 0, 1)
    assert contents(tmp_path / "out") == {n: VIDEOS[n] for n in VIDEOS if n.endswith(".mp4")}
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    again = unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert (again.num_written, again.num_there) == (0, 3)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


class FullDisk:
    """Stands for `shutil` in the module under test: no room after so many files."""

    def __init__(self, num_files: int) -> None:
        self.left = num_files

    def copyfileobj(self, packed, file, length):
        assert DRAFT.fullmatch(Path(file.name).name), "or a kill would leave it for ever"
        if self.left == 0:
            file.write(packed.read(100))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.left -= 1
        shutil.copyfileobj(packed, file, length)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_named_and_the_next_call_goes_on(tmp_path, kind, monkeypatch):
    WRITERS[kind](tmp_path / "in")
    with monkeypatch.context() as patch:
        patch.setattr(unpacking, "shutil", FullDisk(1))
        with pytest.raises(PreparationError, match=r"No space left.*kept: make room.*same command"):
            unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.mp4": VIDEOS["a.mp4"]}, "no half-written video"
    done = unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert (done.num_written, done.num_there) == (2, 1)
    assert len(contents(tmp_path / "out")) == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stderr", [Terminal, io.StringIO])
def test_a_terminal_sees_a_bar_in_bytes_and_a_log_does_not(tmp_path, monkeypatch, stderr):
    write_zip(tmp_path / "in")
    monkeypatch.setattr("sys.stderr", stderr())
    unpack(data_set(), tmp_path / "in", tmp_path / "out")
    shown = sys.stderr.getvalue()
    assert ("x: 100%" in shown and "13.5k/13.5k" in shown) is (stderr is Terminal)
    assert shown == "" or stderr is Terminal


def test_what_a_kill_left_is_removed_and_a_cut_video_written_anew(tmp_path):
    write_zip(tmp_path / "in")
    out = tmp_path / "out"
    out.mkdir()
    (out / f".a.mp4.{'0' * 32}.tmp").write_bytes(b"half")
    (out / "c.mp4").write_bytes(VIDEOS["c.mp4"][:-1])
    assert unpack(data_set(), tmp_path / "in", out).num_written == 3
    assert contents(out)["c.mp4"] == VIDEOS["c.mp4"] and len(contents(out)) == 3


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    write_zip(tmp_path / "in")
    monkeypatch.setattr(unpacking, "free_bytes", lambda folder: 13_499)
    with pytest.raises(PreparationError, match=r"needs 0\.0 GB .*only .* free"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(unpacking, "free_bytes", lambda folder: 13_500)
    unpack(data_set(), tmp_path / "in", tmp_path / "out")


BAD_NAMES = {
    "../a.mp4": r"a path with \.\.",
    "x/../../a.mp4": r"a path with \.\.",
    "..\\a.mp4": r"a path with \.\.",
    "/etc/a.mp4": "an absolute path",
    "C:\\a.mp4": "an absolute path",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_members_that_would_leave_the_folder_are_refused_in_zips(tmp_path, name):
    write_zip(tmp_path / "in", VIDEOS | {name: b"evil"})
    with pytest.raises(PreparationError, match=f"refused.*{BAD_NAMES[name]}"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists(), "nothing of the archive is written"


@pytest.mark.parametrize("name", ["../a.mp4", "/etc/a.mp4"])
def test_members_that_would_leave_the_folder_are_refused_in_tars(tmp_path, name):
    write_tar(tmp_path / "in", lambda tar: tar.addfile(tarfile.TarInfo(name)))
    with pytest.raises(PreparationError, match=f"refused.*{BAD_NAMES[name]}"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _linked(kind: bytes) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("link.mp4")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    ("kind", "said"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.FIFOTYPE, "a device")],
)
def test_links_and_devices_are_refused_in_tars(tmp_path, kind, said):
    write_tar(tmp_path / "in", _linked(kind))
    with pytest.raises(PreparationError, match=f"refused.*link.mp4' is {said}"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused_in_zips(tmp_path):
    path = write_zip(tmp_path / "in")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("link.mp4")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(PreparationError, match=r"refused.*link.mp4' is a link"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("num_bytes", [0, 10, 3000, -1])
def test_a_zip_that_was_cut_off(tmp_path, num_bytes):
    path = write_zip(tmp_path / "in")
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(PreparationError, match=r"x\.zip: damaged or not completely downloaded"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("is_noise", [True, False])
def test_a_zip_with_damaged_content_leaves_no_damaged_video(tmp_path, is_noise):
    """Found by its checksum, or already by what unpacks it."""
    texts = {"deep/b.mp4": b"".join(b"%d " % i for i in range(20_000))}
    path = write_zip(tmp_path / "in", VIDEOS if is_noise else VIDEOS | texts)
    data = bytearray(path.read_bytes())
    data[5000:5100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(PreparationError, match=r"x\.zip: damaged"):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert contents(tmp_path / "out") == {"a.mp4": VIDEOS["a.mp4"]}


@pytest.mark.parametrize("missing", [0, 1, 2])
@pytest.mark.parametrize("known", [PARTS, None])
def test_a_missing_part_is_named(tmp_path, missing, known):
    path = write_tar(tmp_path / "in")[missing]
    path.unlink()
    is_seen_by_size = missing == 2 and known is None
    said = "cut off or damaged" if is_seen_by_size else rf"{path.name} missing"
    with pytest.raises(PreparationError, match=said):
        unpack(data_set(known), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_part_that_was_cut_off_is_named(tmp_path, part):
    path = write_tar(tmp_path / "in")[part]
    path.write_bytes(path.read_bytes()[:-4000])
    said = "cut off or damaged at byte" if part == 2 else rf"{path.name} smaller than the other"
    with pytest.raises(PreparationError, match=said):
        unpack(data_set(), tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_name_twice_is_refused(tmp_path):
    write_zip(tmp_path / "in", {"one/a.mp4": b"1", "two/a.mp4": b"2"})
    flat = DataSet(
        lambda source, videos, findings: (),
        {"x/x.json": None},
        source="",
        archives=("*.zip",),
        place=lambda member: Path(member).name,
    )
    with pytest.raises(PreparationError, match="several members would become"):
        unpack(flat, tmp_path / "in", tmp_path / "out")


def test_the_hubs_own_cache_is_no_source(tmp_path):
    write_zip(tmp_path / "in" / ".cache" / "huggingface")
    assert find_archives(tmp_path / "in", data_set()) == []
