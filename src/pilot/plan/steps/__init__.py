"""All steps that a Program can be made of, by subject.

Each is a frozen value with `describe()`, one line like the command that would do the same, and `write(code)`, its
instructions. A step that the kernel refuses ends the Program: the launcher raises `StepError` with that line.

Paths with a *base* are resolved inside the directory of that slot as if it were the root: no link and no `..` leads
out (openat2 RESOLVE_IN_ROOT). Paths without one are those of the namespace that the step runs in.

| module    | steps |
|-----------|---|
| files     | Open Close MakeDirectories MakeSymlink MakeNode ChangeMode ChangeOwner WriteFile Write Remove |
|           | CheckDevice CheckFilesystem |
| mounts    | Mount Unmount OpenTree NewFilesystem SetMountAttributes AttachMount MountFilesystem BindMount |
|           | CopyUp TakeMount MaskPath ReadonlyPath SetPropagation OpenPlace PivotRoot HideMount MoveRoot ChangeRoot |
| process   | SetHostname SetDomainname NewSession OpenTerminal ControllingTerminal InstallDescriptors |
|           | ChangeDirectory EnterDirectory FindExecutable Execute Seccomp |
|           | and all that a process is allowed or limited to |
| control   | JoinNamespace Unshare JoinCgroup Spawn Barrier Release AwaitStart SendDescriptor OfferDescriptor |
|           | Hold SendTo RunHook |
"""

from __future__ import annotations

from ..code import Slot
from .control import (
    AwaitStart,
    Barrier,
    Hold,
    JoinCgroup,
    JoinNamespace,
    OfferDescriptor,
    Release,
    RunHook,
    SendDescriptor,
    SendTo,
    Spawn,
    Unshare,
)
from .files import (
    ChangeMode,
    ChangeOwner,
    CheckDevice,
    CheckFilesystem,
    Close,
    MakeDirectories,
    MakeNode,
    MakeSymlink,
    Open,
    Remove,
    Write,
    WriteFile,
)
from .mounts import (
    AttachMount,
    BindMount,
    ChangeRoot,
    CopyUp,
    HideMount,
    MaskPath,
    Mount,
    MountFilesystem,
    MoveRoot,
    NewFilesystem,
    OpenPlace,
    OpenTree,
    PivotRoot,
    ReadonlyPath,
    SetMountAttributes,
    SetPropagation,
    TakeMount,
    Unmount,
)
from .process import (
    ChangeDirectory,
    ControllingTerminal,
    DropBoundingSet,
    EnterDirectory,
    Execute,
    FindExecutable,
    InstallDescriptors,
    JoinKeyring,
    KeepCapabilities,
    NewSession,
    NoNewPrivileges,
    OpenTerminal,
    Seccomp,
    SetAmbientSet,
    SetCapabilities,
    SetCpuAffinity,
    SetDomainname,
    SetDumpable,
    SetGroups,
    SetHostname,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetParentDeathSignal,
    SetPersonality,
    SetScheduler,
    SetSecureBits,
    SetUser,
    Umask,
)

__all__ = [
    "AttachMount",
    "AwaitStart",
    "Barrier",
    "BindMount",
    "ChangeDirectory",
    "ChangeMode",
    "ChangeOwner",
    "ChangeRoot",
    "CheckDevice",
    "CheckFilesystem",
    "Close",
    "ControllingTerminal",
    "CopyUp",
    "DropBoundingSet",
    "EnterDirectory",
    "Execute",
    "FindExecutable",
    "HideMount",
    "Hold",
    "InstallDescriptors",
    "JoinCgroup",
    "JoinKeyring",
    "JoinNamespace",
    "KeepCapabilities",
    "MakeDirectories",
    "MakeNode",
    "MakeSymlink",
    "MaskPath",
    "Mount",
    "MountFilesystem",
    "MoveRoot",
    "NewFilesystem",
    "NewSession",
    "NoNewPrivileges",
    "OfferDescriptor",
    "Open",
    "OpenPlace",
    "OpenTerminal",
    "OpenTree",
    "PivotRoot",
    "ReadonlyPath",
    "Release",
    "Remove",
    "RunHook",
    "Seccomp",
    "SendDescriptor",
    "SendTo",
    "SetAmbientSet",
    "SetCapabilities",
    "SetCpuAffinity",
    "SetDomainname",
    "SetDumpable",
    "SetGroups",
    "SetHostname",
    "SetIoPriority",
    "SetLimit",
    "SetMemoryPolicy",
    "SetMountAttributes",
    "SetParentDeathSignal",
    "SetPersonality",
    "SetPropagation",
    "SetScheduler",
    "SetSecureBits",
    "SetUser",
    "Slot",
    "Spawn",
    "TakeMount",
    "Umask",
    "Unmount",
    "Unshare",
    "Write",
    "WriteFile",
]
