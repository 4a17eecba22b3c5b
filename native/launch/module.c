/* pilot.kernel._launch: what Python sees. Everything here runs in the parent. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "launch.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { MFD_EXEC_ = 0x10 }; /* Linux 6.3; the C library may be older */

void add_constants(PyObject *dictionary);

extern const char stage_begin[], stage_end[]; /* pilot-launch as setup.py has built it */
__asm__(".section .rodata\n.balign 16\n.global stage_begin\n.global stage_end\nstage_begin:\n.incbin \"" STAGE
        "\"\nstage_end:\n"
        ".previous\n");

static int fill_block(struct block *block, uint32_t slots, PyObject *descriptors)
{
    Py_ssize_t count = PySequence_Size(descriptors);

    if (count < 0)
        return -1;
    if (count != slots) {
        PyErr_SetString(PyExc_ValueError, "one descriptor (or -1) for each slot is wanted");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(descriptors, i);
        block->slots[i] = item ? (int)PyLong_AsLong(item) : -1;
        Py_XDECREF(item);
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

static int write_all(int fd, const void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, (const char *)bytes + done, size - done);
        if (written < 0)
            return -1;
        done += written;
    }
    return 0;
}

/* A sealed file in memory: what runs in a container's namespaces can be looked at there, never changed. */
static int make_stage(void)
{
    int fd = memfd_create("pilot-launch", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC_);

    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 there was no MFD_EXEC, and all were executable */
        fd = memfd_create("pilot-launch", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (write_all(fd, stage_begin, stage_end - stage_begin) || fchmod(fd, 0555)
        || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* The one of this process, for as long as it lives. The GIL keeps two threads from making two. */
static int stage_fd(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = make_stage();
    return fd;
}

static int make_block(const struct block *block, const void *program, size_t size)
{
    int fd = memfd_create("program", MFD_CLOEXEC);

    if (fd >= 0 && (write_all(fd, block, sizeof *block) || write_all(fd, program, size))) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Closes what start opened; keeps errno. */
static void close_all(int first, int second, int third)
{
    int error = errno;

    if (first >= 0)
        close(first);
    if (second >= 0)
        close(second);
    if (third >= 0)
        close(third);
    errno = error;
}

static PyObject *start(struct entrance *entrance, struct block *block, const void *program, size_t size)
{
    int pair[2], error;

    entrance->stage_fd = stage_fd();
    if (entrance->stage_fd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return PyErr_SetFromErrno(PyExc_OSError);
    block->channel = pair[1];
    entrance->block_fd = make_block(block, program, size);
    if (entrance->block_fd < 0) {
        close_all(pair[0], pair[1], -1);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_BEGIN_ALLOW_THREADS
    error = enter_stage(entrance);
    Py_END_ALLOW_THREADS
    close_all(pair[1], entrance->block_fd, error ? pair[0] : -1);
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("iii", entrance->pid, entrance->pid_fd, pair[0]);
}

static PyObject *launch_start(PyObject *module, PyObject *arguments)
{
    const char *bytes, *problem;
    Py_ssize_t size;
    PyObject *descriptors, *result = NULL;
    unsigned long long flags;
    struct program program;
    struct block block = {0};
    struct entrance entrance = {.block = &block, .pid_fd = -1};

    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#OKi", &bytes, &size, &descriptors, &flags, &entrance.exit_signal))
        return NULL;
    problem = program_load(&program, bytes, size);
    entrance.header = program.header;
    entrance.flags = flags;
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else if (fill_block(&block, program.header->slots, descriptors) == 0)
        result = start(&entrance, &block, bytes, size);
    program_free(&program);
    return result;
}

static PyObject *launch_stage(PyObject *module, PyObject *nothing)
{
    int fd = stage_fd();

    (void)module, (void)nothing;
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

static PyObject *launch_validate(PyObject *module, PyObject *arguments)
{
    const char *bytes, *problem;
    Py_ssize_t size;
    struct program program;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#", &bytes, &size))
        return NULL;
    problem = program_load(&program, bytes, size);
    program_free(&program);
    if (problem) {
        PyErr_SetString(PyExc_ValueError, problem);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* One message within timeout_ms (-1: for ever). 1 received, 0 end of file, -1 errno. */
static int receive(int channel, int timeout_ms, struct message *message, int *descriptor)
{
    struct pollfd poll_fd = {channel, POLLIN, 0};
    struct iovec part = {message, sizeof *message};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int ready = poll(&poll_fd, 1, timeout_ms);

    if (ready == 0)
        errno = ETIMEDOUT;
    if (ready <= 0)
        return -1;
    ssize_t size = recvmsg(channel, &head, MSG_CMSG_CLOEXEC);
    if (size < 0)
        return errno == ECONNRESET ? 0 : -1; /* it died with a reply of ours unread */
    struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
    if (rights && rights->cmsg_type == SCM_RIGHTS)
        memcpy(descriptor, CMSG_DATA(rights), sizeof *descriptor);
    return size == sizeof *message;
}

static PyObject *launch_receive(PyObject *module, PyObject *arguments)
{
    int channel, timeout_ms, result, descriptor = -1;
    struct message message;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "ii", &channel, &timeout_ms))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = receive(channel, timeout_ms, &message, &descriptor);
    Py_END_ALLOW_THREADS
    if (result < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    if (result == 0)
        Py_RETURN_NONE;
    return Py_BuildValue("IIIiii", message.kind, message.step, message.instruction, message.error, message.value,
                         descriptor);
}

static PyObject *launch_reply(PyObject *module, PyObject *arguments)
{
    int channel, descriptors[MAX_RECEIVED];
    PyObject *sequence;
    char byte = 0;
    struct iovec part = {&byte, 1};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof descriptors)];
    } control = {0};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

    (void)module;
    if (!PyArg_ParseTuple(arguments, "iO", &channel, &sequence))
        return NULL;
    Py_ssize_t count = PySequence_Size(sequence);
    if (count < 0 || count > MAX_RECEIVED)
        return count < 0 ? NULL : PyErr_Format(PyExc_ValueError, "more than %d descriptors", MAX_RECEIVED);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(sequence, i);
        descriptors[i] = item ? (int)PyLong_AsLong(item) : -1;
        Py_XDECREF(item);
        if (PyErr_Occurred())
            return NULL;
    }
    if (count) {
        head.msg_control = &control;
        head.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&head);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
    }
    if (sendmsg(channel, &head, MSG_NOSIGNAL) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *launch_calls(PyObject *module, PyObject *arguments)
{
    PyObject *result = PyDict_New();

    (void)module;
    (void)arguments;
    for (unsigned number = 0; result && number < 256; number++) {
        const struct call *call = call_find(number);
        PyObject *value = call ? PyLong_FromLong(number) : NULL;
        if (value)
            PyDict_SetItemString(result, call->name, value);
        Py_XDECREF(value);
    }
    return result;
}

static PyObject *launch_constants(PyObject *module, PyObject *arguments)
{
    PyObject *result = PyDict_New();

    (void)module;
    (void)arguments;
    if (result)
        add_constants(result);
    return result;
}

/* clang-format off */
static PyMethodDef methods[] = {
    {"stage", launch_stage, METH_NOARGS, "stage() -> fd of the stage's memfd; it stays the module's"},
    {"start", launch_start, METH_VARARGS, "start(program, descriptors, flags, exit_signal) -> (pid, pid_fd, channel_fd)"},
    {"receive", launch_receive, METH_VARARGS,
     "receive(channel, timeout_ms) -> (kind, step, instruction, error, value, descriptor), None at the end"},
    {"reply", launch_reply, METH_VARARGS, "reply(channel, descriptors): let the process go on"},
    {"validate", launch_validate, METH_VARARGS, "validate(program): ValueError when it is not well formed"},
    {"calls", launch_calls, METH_NOARGS, "calls() -> {name: number} of all instructions"},
    {"constants", launch_constants, METH_NOARGS, "constants() -> {name: value} as the C headers have them"},
    {NULL, NULL, 0, NULL},
};
/* clang-format on */

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_launch", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__launch(void)
{
    stage_fd(); /* early, so that no launch is seen to leave a descriptor behind; if it fails, the first launch says why */
    return PyModule_Create(&definition);
}
