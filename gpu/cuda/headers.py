"""headers.py DIR PACKAGE==VERSION …: puts the headers of NVIDIA's packages on PyPI
into DIR/include. Of each wheel, up to 400 MB, only the parts with headers are read."""

import io
import json
import os
import pathlib
import sys
import urllib.parse
import urllib.request
import zipfile


class Remote(io.RawIOBase):
    """A file on a server that answers requests for ranges, read in blocks."""

    block = 1 << 18

    def __init__(self, url):
        self.url, self.at, self.blocks = url, 0, {}
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as r:
            self.size = int(r.headers["Content-Length"])

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, n=-1):
        end = self.size if n < 0 else min(self.size, self.at + n)
        first, last = self.at // self.block, -(-end // self.block)
        data = b"".join(self.get(i) for i in range(first, last))
        data = data[self.at - first * self.block : end - first * self.block]
        self.at = end
        return data

    def get(self, i):
        if i not in self.blocks:
            header = {"Range": f"bytes={i * self.block}-{min(self.size, (i + 1) * self.block) - 1}"}
            with urllib.request.urlopen(urllib.request.Request(self.url, headers=header)) as r:
                if r.status != 206:
                    raise OSError(f"{self.url}: the server sends no parts of files")
                self.blocks[i] = r.read()
        return self.blocks[i]


def wheel(package):
    """Where an index of Python packages has the wheel of NAME==VERSION for Linux."""
    name, version = package.split("==")
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(f"{index}/{name}/", headers=accept)) as r:
        files = json.load(r)["files"]
    stem = f"{name.replace('-', '_')}-{version}-"
    for file in files:
        if file["filename"].startswith(stem) and file["filename"].endswith("_x86_64.whl"):
            return urllib.parse.urljoin(r.url, file["url"])
    raise LookupError(f"{index} has no wheel of {package} for Linux")


def main(root, *packages):
    for package in packages:
        archive = zipfile.ZipFile(Remote(wheel(package)))
        for member in archive.infolist():
            _, found, path = member.filename.partition("/include/")
            if found and not member.is_dir() and wanted(path):
                target = pathlib.Path(root, "include", path.removeprefix("cccl/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))


def wanted(path):
    """CCCL is C++'s: of it CUDA's own headers include <nv/target> alone."""
    return not path.startswith("cccl/") or path.startswith("cccl/nv/")


main(*sys.argv[1:])
