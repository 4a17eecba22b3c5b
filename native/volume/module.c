/* pilot.volume._lookaside: what Python sees. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <string.h>

#include "lookaside.h"

typedef struct {
    PyObject_HEAD
    struct server server;
} Lookaside;

static struct server *server_of(PyObject *self) { return &((Lookaside *)self)->server; }

static int lookaside_init(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct server *server = server_of(self);
    unsigned long long size_bytes;
    static char *names[] = {"fuse_fd", "size_bytes", NULL};

    if (server->table.pages) {
        PyErr_SetString(PyExc_RuntimeError, "it is open already");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "iK", names, &server->fuse_fd, &size_bytes))
        return -1;
    for (int depth = 0; depth < MAX_SLABS; depth++)
        atomic_store(&server->slabs[depth], -1);
    atomic_store(&server->size_bytes, size_bytes);
    atomic_store(&server->clean_fd, -1);
    grace_open(&server->grace);
    if (table_open(&server->table)) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Nobody is inside: `receive` holds a reference. */
static void lookaside_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (server_of(self)->table.pages) {
        table_close(&server_of(self)->table);
        grace_close(&server_of(self)->grace);
        for (int lane = 0; lane < MAX_LANES; lane++)
            rest_close(&server_of(self)->rests[lane]);
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *set_slab(PyObject *self, PyObject *arguments)
{
    int depth, fd;

    if (!PyArg_ParseTuple(arguments, "ii", &depth, &fd))
        return NULL;
    if (depth >= 0 && depth < MAX_SLABS)
        atomic_store(&server_of(self)->slabs[depth], fd);
    Py_RETURN_NONE;
}

static PyObject *set_size(PyObject *self, PyObject *argument)
{
    unsigned long long size_bytes = PyLong_AsUnsignedLongLong(argument);

    if (PyErr_Occurred())
        return NULL;
    atomic_store(&server_of(self)->size_bytes, size_bytes);
    Py_RETURN_NONE;
}

/* What is known to be writable stays so as long as it stays where it is. A place of too many bits stays unknown. */
static uint64_t make_entry(const struct table *table, uint64_t chunk, uint64_t place, int writable)
{
    uint64_t before = table_get(table, chunk), entry = KNOWN | place;

    if (place > PLACE_MASK)
        return 0;
    return entry | (writable ? WRITABLE : (before & ~WRITABLE) == entry ? before & WRITABLE : 0);
}

static PyObject *learn(PyObject *self, PyObject *arguments)
{
    struct table *table = &server_of(self)->table;
    unsigned long long first;
    PyObject *places;
    int writable;

    if (!PyArg_ParseTuple(arguments, "KOp", &first, &places, &writable))
        return NULL;
    Py_ssize_t count = PySequence_Size(places);
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *item = PySequence_GetItem(places, n);
        uint64_t place = item ? PyLong_AsUnsignedLongLong(item) : 0;
        Py_XDECREF(item);
        if (PyErr_Occurred())
            return NULL;
        if (table_put(table, first + n, make_entry(table, first + n, place, writable && place)))
            return PyErr_NoMemory();
    }
    if (count < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *forget(PyObject *self, PyObject *arguments)
{
    unsigned long long first, count;

    if (!PyArg_ParseTuple(arguments, "KK", &first, &count))
        return NULL;
    return PyLong_FromSize_t(table_take(&server_of(self)->table, first, count, 0));
}

static PyObject *wait_for_grace(PyObject *self)
{
    Py_BEGIN_ALLOW_THREADS
    grace_wait(&server_of(self)->grace);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *settle(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    return wait_for_grace(self);
}

static PyObject *protect(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    table_take(&server_of(self)->table, 0, UINT64_MAX, WRITABLE);
    return wait_for_grace(self);
}

static PyObject *clear(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    table_take(&server_of(self)->table, 0, UINT64_MAX, 0);
    return wait_for_grace(self);
}

static PyObject *take_written(PyObject *self, PyObject *nothing)
{
    uint64_t writes = atomic_load(&server_of(self)->writes);

    (void)nothing;
    return PyBool_FromLong(atomic_exchange(&server_of(self)->synced, writes) != writes);
}

static PyObject *set_clean(PyObject *self, PyObject *argument)
{
    long fd = PyLong_AsLong(argument);

    if (PyErr_Occurred())
        return NULL;
    atomic_store(&server_of(self)->clean_fd, (int)fd);
    Py_RETURN_NONE;
}

static PyObject *get_answered(PyObject *self, void *nothing)
{
    (void)nothing;
    return PyLong_FromUnsignedLongLong(atomic_load(&server_of(self)->answered));
}

static PyObject *receive(PyObject *self, PyObject *arguments)
{
    Py_buffer buffer;
    ssize_t size = -1;
    int lane;

    if (!PyArg_ParseTuple(arguments, "w*i", &buffer, &lane))
        return NULL;
    if (buffer.len < WRITE_HEADER + MAX_IO_BYTES || lane < 0 || lane >= MAX_LANES) {
        PyErr_SetString(PyExc_ValueError, "a larger buffer, or a smaller lane, is wanted");
    } else {
        Py_BEGIN_ALLOW_THREADS
        size = serve_until_asked(server_of(self), buffer.buf, buffer.len, lane);
        Py_END_ALLOW_THREADS
        if (size < 0)
            PyErr_SetFromErrno(PyExc_OSError);
    }
    PyBuffer_Release(&buffer);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

/* clang-format off */
static PyMethodDef methods[] = {
    {"set_slab", set_slab, METH_VARARGS, NULL},
    {"set_size", set_size, METH_O, NULL},
    {"learn", learn, METH_VARARGS, NULL},
    {"forget", forget, METH_VARARGS, NULL},
    {"settle", settle, METH_NOARGS, NULL},
    {"protect", protect, METH_NOARGS, NULL},
    {"clear", clear, METH_NOARGS, NULL},
    {"set_clean", set_clean, METH_O, NULL},
    {"take_written", take_written, METH_NOARGS, NULL},
    {"receive", receive, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
/* clang-format on */

static PyGetSetDef attributes[] = {{"answered", get_answered, NULL, NULL, NULL}, {NULL, NULL, NULL, NULL, NULL}};

/* clang-format off */
static PyType_Slot slots[] = {
    {Py_tp_doc, "See _lookaside.pyi."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, lookaside_init},
    {Py_tp_dealloc, lookaside_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};
/* clang-format on */

static PyType_Spec specification = {
    .name = "pilot.volume._lookaside.Lookaside",
    .basicsize = sizeof(Lookaside),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "pilot.volume._lookaside", .m_size = 0};

PyMODINIT_FUNC PyInit__lookaside(void)
{
    PyObject *module = PyModule_Create(&definition);
    PyObject *type = module ? PyType_FromSpec(&specification) : NULL;

    if (!type || PyModule_AddObject(module, "Lookaside", type)
        || PyModule_AddIntConstant(module, "CHUNK_BYTES", CHUNK_BYTES)
        || PyModule_AddIntConstant(module, "PAGE_ENTRIES", PAGE_ENTRIES)
        || PyModule_AddIntConstant(module, "MAX_LANES", MAX_LANES)
        || PyModule_AddIntConstant(module, "MAX_IO_BYTES", MAX_IO_BYTES)
        || PyModule_AddIntConstant(module, "WRITE_HEADER_BYTES", WRITE_HEADER)) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
