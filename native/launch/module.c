/* pilot.kernel._launch: what Python sees. Everything here runs in the parent. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "launch.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

void add_constants(PyObject *dictionary);

static int fill_slots(struct run *run, PyObject *descriptors)
{
    Py_ssize_t count = PySequence_Size(descriptors);

    if (count < 0)
        return -1;
    if ((size_t)count != run->program->header->slots) {
        PyErr_SetString(PyExc_ValueError, "one descriptor (or -1) for each slot is wanted");
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(descriptors, i);
        run->slots[i] = item ? (int)PyLong_AsLong(item) : -1;
        Py_XDECREF(item);
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

static PyObject *start(struct run *run, unsigned long long flags, int exit_signal)
{
    int pair[2], error;
    struct started started = {-1, -1};

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return PyErr_SetFromErrno(PyExc_OSError);
    run->channel = pair[1];
    Py_BEGIN_ALLOW_THREADS
    error = start_program(run, flags, exit_signal, &started);
    Py_END_ALLOW_THREADS
    close(pair[1]);
    if (error) {
        close(pair[0]);
        errno = error;
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, "clone3");
    }
    return Py_BuildValue("iii", started.pid, started.pid_fd, pair[0]);
}

static PyObject *launch_start(PyObject *module, PyObject *arguments)
{
    const char *bytes, *problem;
    Py_ssize_t size;
    PyObject *descriptors, *result = NULL;
    unsigned long long flags;
    int exit_signal;
    struct program program;
    struct run run = {.program = &program};

    (void)module;
    if (!PyArg_ParseTuple(arguments, "y#OKi", &bytes, &size, &descriptors, &flags, &exit_signal))
        return NULL;
    problem = program_load(&program, bytes, size);
    if (problem)
        PyErr_SetString(PyExc_ValueError, problem);
    else if (fill_slots(&run, descriptors) == 0)
        result = start(&run, flags, exit_signal);
    program_free(&program);
    return result;
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
    return Py_BuildValue("IIIiii", message.kind, message.step, message.instruction, message.error, message.value, descriptor);
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

static PyMethodDef methods[] = {
    {"start", launch_start, METH_VARARGS, "start(program, descriptors, flags, exit_signal) -> (pid, pid_fd, channel_fd)"},
    {"receive", launch_receive, METH_VARARGS,
     "receive(channel, timeout_ms) -> (kind, step, instruction, error, value, descriptor), None at the end"},
    {"reply", launch_reply, METH_VARARGS, "reply(channel, descriptors): let the process go on"},
    {"validate", launch_validate, METH_VARARGS, "validate(program): ValueError when it is not well formed"},
    {"calls", launch_calls, METH_NOARGS, "calls() -> {name: number} of all instructions"},
    {"constants", launch_constants, METH_NOARGS, "constants() -> {name: value} as the C headers have them"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_launch", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__launch(void)
{
    return PyModule_Create(&definition);
}
