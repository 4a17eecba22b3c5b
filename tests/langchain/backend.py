"""A sprite as a deepagents sandbox: sprites-py alone, and as little beside it as can be.

Imported in the environment of `make langchain` only, which has langchain.
"""

from __future__ import annotations

import subprocess
from typing import Literal

from deepagents.backends.protocol import ExecuteResponse, FileDownloadResponse, FileUploadResponse
from deepagents.backends.sandbox import BaseSandbox
from sprites import Sprite
from sprites.exceptions import FilesystemError, NotFoundError

DEFAULT_S = 120.0
_Error = Literal["file_not_found", "permission_denied", "is_directory", "invalid_path"]


class SpriteSandbox(BaseSandbox):  # type: ignore[misc]
    """What agents ask is done as the sprite's user."""

    def __init__(self, sprite: Sprite) -> None:
        self._sprite = sprite
        self._files = sprite.filesystem("/")

    @property
    def id(self) -> str:
        return str(self._sprite.name)

    def execute(self, command: str, *, timeout: int | None = None) -> ExecuteResponse:
        done: subprocess.CompletedProcess[bytes] = self._sprite.run(
            "bash", "-c", f"exec 2>&1\n{command}", capture_output=True, timeout=timeout or DEFAULT_S
        )
        return ExecuteResponse(done.stdout.decode(errors="replace"), done.returncode, truncated=False)

    def upload_files(self, files: list[tuple[str, bytes]]) -> list[FileUploadResponse]:
        return [FileUploadResponse(path=path, error=self._upload(path, content)) for path, content in files]

    def _upload(self, path: str, content: bytes) -> str | None:
        if not path.startswith("/"):
            return "invalid_path"
        try:
            self._files.path(path).write_bytes(content)
        except FilesystemError as error:
            return _kind(error)
        return None

    def download_files(self, paths: list[str]) -> list[FileDownloadResponse]:
        return list(map(self._download, paths))

    def _download(self, path: str) -> FileDownloadResponse:
        if not path.startswith("/"):
            return FileDownloadResponse(path=path, error="invalid_path")
        try:
            return FileDownloadResponse(path=path, content=self._files.path(path).read_bytes())
        except (FilesystemError, NotFoundError) as error:
            return FileDownloadResponse(path=path, error=_kind(error))


def _kind(error: Exception) -> str:
    """As langchain names what may go wrong; anything else in the server's words."""
    said = str(error).lower()
    kinds: tuple[tuple[str, _Error], ...] = (
        ("no such file", "file_not_found"), ("not found", "file_not_found"), ("is a directory", "is_directory"),
        ("not permitted", "permission_denied"), ("permission denied", "permission_denied"),
        ("not a directory", "invalid_path"),
    )  # fmt: skip
    return next((kind for text, kind in kinds if text in said), said)
