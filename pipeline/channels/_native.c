/* The channels for Python: arguments, buffers and the GIL around _ring.h, which has the protocol.
 *
 * Limited API of 3.11 and the buffer protocol only: one build serves every Python from 3.11 on and
 * every numpy. native.py puts these types behind the classes of ring.py, queue.py and cell.py.
 *
 * Each object keeps the buffer of its mapping until close(), so that nobody unmaps under it. The
 * GIL is held while records are copied (a batch of 64 takes less time than giving it away) and
 * released while spinning and sleeping.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_ring.h"

/* Mappings ------------------------------------------------------------------------------------ */

/* Take the buffer of `mapped`, which must hold `needed` bytes and lie on an eight-byte boundary. */
static int map_buffer(PyObject *mapped, Py_buffer *view, bool writable, Py_ssize_t needed)
{
    if (PyObject_GetBuffer(mapped, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0)
        return -1;
    if (view->len >= needed && (uintptr_t)view->buf % 8 == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "%zd bytes of mapping, %zd needed, aligned to 8", view->len,
                 needed);
    PyBuffer_Release(view);
    return -1;
}

static int open_channel(PyObject *mapped, Py_ssize_t slot_size, unsigned long long capacity,
                        bool writable, Py_buffer *view, channel_t *channel)
{
    if (slot_size < 8 || slot_size % 8 || slot_size > 1 << 20) {
        PyErr_Format(PyExc_ValueError, "a slot of %zd bytes is not a number of words", slot_size);
        return -1;
    }
    if (capacity == 0 || (capacity & (capacity - 1)) || capacity > 1ull << 32) {
        PyErr_Format(PyExc_ValueError, "capacity %llu is not a power of two", capacity);
        return -1;
    }
    Py_ssize_t needed = SLOTS * 8 + (Py_ssize_t)capacity * slot_size;
    if (map_buffer(mapped, view, writable, needed) < 0)
        return -1;
    channel->words = view->buf;
    channel->mask = capacity - 1;
    channel->slot_words = (size_t)slot_size / 8;
    return 0;
}

static PyObject *closed(void)
{
    PyErr_SetString(PyExc_ValueError, "the channel is closed");
    return NULL;
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *new_object(PyTypeObject *type)
{
    return ((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

static PyTypeObject *bell_type, *bells_type; /* owned by the module, which is never unloaded */

/* Bell ---------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    bell_t bell;
    int sleeping; /* threads inside park without the GIL; close must not unmap under them */
} Bell;

static int map_readers(PyObject *mapped, Py_buffer *view)
{
    return map_buffer(mapped, view, true, SLOTS * 8 + READERS_MAX * READER_SIZE);
}

static PyObject *bell_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *mapped;
    unsigned int index;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OI", &mapped, &index))
        return NULL;
    if (index >= READERS_MAX)
        return PyErr_Format(PyExc_ValueError, "reader %u of %d", index, READERS_MAX);
    Bell *self = (Bell *)new_object(type);
    if (self == NULL)
        return NULL;
    if (map_readers(mapped, &self->view) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->bell = bell_at(self->view.buf, index);
    return (PyObject *)self;
}

static PyObject *futex_failed(int code)
{
    errno = code;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *bell_park_method(Bell *self, PyObject *args)
{
    PyObject *ready;
    long long slice_ns;
    if (!PyArg_ParseTuple(args, "OL", &ready, &slice_ns))
        return NULL;
    if (self->view.obj == NULL)
        return closed();
    self->sleeping++;
    bell_park(self->bell);
    PyObject *answer = PyObject_CallNoArgs(ready);
    int is_ready = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    int code = 0;
    if (is_ready == 0) {
        Py_BEGIN_ALLOW_THREADS
        code = bell_sleep(self->bell, slice_ns);
        Py_END_ALLOW_THREADS
    }
    bell_unpark(self->bell);
    self->sleeping--;
    if (is_ready < 0)
        return NULL;
    if (code != 0 && code != EAGAIN && code != EINTR && code != ETIMEDOUT)
        return futex_failed(code);
    /* EINTR ends the park: the signal's handler runs here, and the caller looks what it noted. A
     * signal that came just before the sleep waits for the end of the slice. */
    if (PyErr_CheckSignals() < 0)
        return NULL;
    return PyBool_FromLong(code != ETIMEDOUT);
}

static PyObject *bell_ring_method(Bell *self, PyObject *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    int code = bells_ring(&self->bell, 1);
    if (code != 0)
        return futex_failed(code);
    Py_RETURN_NONE;
}

static PyObject *bell_close(Bell *self, PyObject *unused)
{
    (void)unused;
    if (self->sleeping) {
        PyErr_SetString(PyExc_BufferError, "somebody is parked on this bell");
        return NULL;
    }
    PyBuffer_Release(&self->view);
    Py_RETURN_NONE;
}

static void bell_dealloc(Bell *self)
{
    PyBuffer_Release(&self->view);
    free_object((PyObject *)self);
}

static PyMethodDef bell_methods[] = {
    {"park", (PyCFunction)(void (*)(void))bell_park_method, METH_VARARGS,
     "park(ready, slice_ns): sleep until rung, slice_ns at most; not at all if ready(). False when "
     "the time ran out."},
    {"ring", (PyCFunction)(void (*)(void))bell_ring_method, METH_NOARGS,
     "Wake the reader if it is parked; fences by itself."},
    {"close", (PyCFunction)(void (*)(void))bell_close, METH_NOARGS, "Let go of the mapping."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot bell_slots[] = {
    {Py_tp_doc, "Bell(readers, index): one reader's bell; the reader parks on it."},
    {Py_tp_new, bell_new},
    {Py_tp_dealloc, bell_dealloc},
    {Py_tp_methods, bell_methods},
    {0, NULL},
};

static PyType_Spec bell_spec = {
    "pipeline.channels._native.Bell", sizeof(Bell), 0, Py_TPFLAGS_DEFAULT, bell_slots};

/* Bells --------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    bell_t bells[READERS_MAX];
    size_t count;
} Bells;

static PyObject *bells_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *mapped, *indexes;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OO!", &mapped, &PyTuple_Type, &indexes))
        return NULL;
    Py_ssize_t count = PyTuple_Size(indexes);
    if (count > READERS_MAX)
        return PyErr_Format(PyExc_ValueError, "%zd readers of %d", count, READERS_MAX);
    Bells *self = (Bells *)new_object(type);
    if (self == NULL)
        return NULL;
    if (map_readers(mapped, &self->view) < 0)
        goto failed;
    for (Py_ssize_t n = 0; n < count; n++) {
        size_t index = PyLong_AsSize_t(PyTuple_GetItem(indexes, n));
        if (index == (size_t)-1 && PyErr_Occurred())
            goto failed;
        if (index >= READERS_MAX) {
            PyErr_Format(PyExc_ValueError, "reader %zu of %d", index, READERS_MAX);
            goto failed;
        }
        self->bells[n] = bell_at(self->view.buf, index);
    }
    self->count = (size_t)count;
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

static int ring_all(const Bells *self)
{
    if (self->view.obj == NULL) {
        closed();
        return -1;
    }
    int code = bells_ring(self->bells, self->count);
    if (code == 0)
        return 0;
    futex_failed(code);
    return -1;
}

static PyObject *bells_ring_method(Bells *self, PyObject *unused)
{
    (void)unused;
    if (ring_all(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *bells_close(Bells *self, PyObject *unused)
{
    (void)unused;
    PyBuffer_Release(&self->view);
    Py_RETURN_NONE;
}

static void bells_dealloc(Bells *self)
{
    PyBuffer_Release(&self->view);
    free_object((PyObject *)self);
}

static PyMethodDef bells_methods[] = {
    {"ring", (PyCFunction)(void (*)(void))bells_ring_method, METH_NOARGS,
     "Wake the readers that are parked; fences by itself."},
    {"close", (PyCFunction)(void (*)(void))bells_close, METH_NOARGS, "Let go of the mapping."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot bells_slots[] = {
    {Py_tp_doc, "Bells(readers, indexes): what a writer rings after it has published."},
    {Py_tp_new, bells_new},
    {Py_tp_dealloc, bells_dealloc},
    {Py_tp_methods, bells_methods},
    {0, NULL},
};

static PyType_Spec bells_spec = {
    "pipeline.channels._native.Bells", sizeof(Bells), 0, Py_TPFLAGS_DEFAULT, bells_slots};

/* Writer -------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    channel_t channel;
    uint64_t published;
    PyObject *slot;  /* numpy dtype of a row */
    PyObject *dtype; /* the string "dtype" */
    Bells *bells;    /* or NULL */
} Writer;

static PyObject *writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *mapped, *slot;
    Py_ssize_t slot_size;
    unsigned long long capacity;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OOnK", &mapped, &slot, &slot_size, &capacity))
        return NULL;
    Writer *self = (Writer *)new_object(type);
    if (self == NULL)
        return NULL;
    self->dtype = PyUnicode_InternFromString("dtype");
    if (self->dtype == NULL ||
        open_channel(mapped, slot_size, capacity, true, &self->view, &self->channel) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    Py_INCREF(slot);
    self->slot = slot;
    self->published = ring_end(&self->channel);
    return (PyObject *)self;
}

/* Take the buffer of `rows`: one dimension, any stride, and of our record. */
static int rows_of(Writer *self, PyObject *rows, Py_buffer *view)
{
    PyObject *dtype = PyObject_GetAttr(rows, self->dtype);
    if (dtype == NULL)
        return -1;
    int same = dtype == self->slot ? 1 : PyObject_RichCompareBool(dtype, self->slot, Py_EQ);
    if (same == 0)
        PyErr_Format(PyExc_AssertionError, "rows of %S, slots of %S", dtype, self->slot);
    Py_DECREF(dtype);
    if (same <= 0 || PyObject_GetBuffer(rows, view, PyBUF_STRIDES) < 0)
        return -1;
    if (self->view.obj == NULL) { /* looked at last: code of `rows` may have closed us */
        PyBuffer_Release(view);
        closed();
        return -1;
    }
    if (view->ndim == 1 && (size_t)view->itemsize == 8 * self->channel.slot_words)
        return 0;
    PyErr_Format(PyExc_ValueError, "%d dimensions of %zd bytes, expected one of %zu", view->ndim,
                 view->itemsize, 8 * self->channel.slot_words);
    PyBuffer_Release(view);
    return -1;
}

static PyObject *rung(Writer *self)
{
    if (self->bells != NULL && ring_all(self->bells) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *writer_publish(Writer *self, PyObject *rows)
{
    Py_buffer view;
    if (rows_of(self, rows, &view) < 0)
        return NULL;
    const char *row = view.buf;
    ptrdiff_t stride = view.strides[0];
    uint64_t left = (uint64_t)view.shape[0];
    /* A batch larger than the ring overwrites its own oldest records, one ring at a time. */
    while (left > 0) {
        uint64_t count = left < capacity_of(&self->channel) ? left : capacity_of(&self->channel);
        self->published = ring_publish(&self->channel, self->published, row, stride, count);
        row += (ptrdiff_t)count * stride;
        left -= count;
    }
    PyBuffer_Release(&view);
    return rung(self);
}

static PyObject *writer_put(Writer *self, PyObject *rows)
{
    Py_buffer view;
    if (rows_of(self, rows, &view) < 0)
        return NULL;
    uint64_t count = (uint64_t)view.shape[0];
    bool done = queue_put(&self->channel, self->published, view.buf, view.strides[0], count);
    PyBuffer_Release(&view);
    if (!done)
        Py_RETURN_FALSE;
    self->published += count;
    PyObject *none = rung(self);
    if (none == NULL)
        return NULL;
    Py_DECREF(none);
    Py_RETURN_TRUE;
}

static PyObject *writer_finish(Writer *self, PyObject *state)
{
    unsigned long long value = PyLong_AsUnsignedLongLong(state);
    if (value == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    if (self->view.obj == NULL)
        return closed();
    ring_finish(&self->channel, value);
    return rung(self);
}

static PyObject *writer_ring(Writer *self, PyObject *unused)
{
    (void)unused;
    return rung(self);
}

static PyObject *writer_use_bells(Writer *self, PyObject *bells)
{
    if (bells != Py_None && Py_TYPE(bells) != bells_type) {
        PyErr_SetString(PyExc_TypeError, "Bells or None");
        return NULL;
    }
    Bells *before = self->bells;
    self->bells = NULL;
    if (bells != Py_None) {
        Py_INCREF(bells);
        self->bells = (Bells *)bells;
    }
    Py_XDECREF((PyObject *)before);
    Py_RETURN_NONE;
}

static PyObject *writer_close(Writer *self, PyObject *unused)
{
    (void)unused;
    PyBuffer_Release(&self->view);
    Py_RETURN_NONE;
}

static void writer_dealloc(Writer *self)
{
    PyBuffer_Release(&self->view);
    Py_XDECREF(self->slot);
    Py_XDECREF(self->dtype);
    Py_XDECREF((PyObject *)self->bells);
    free_object((PyObject *)self);
}

static PyObject *writer_published(Writer *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->published);
}

static PyMethodDef writer_methods[] = {
    {"publish", (PyCFunction)(void (*)(void))writer_publish, METH_O,
     "Make rows readable, in order, with the next seqs. Never waits for a reader."},
    {"put", (PyCFunction)(void (*)(void))writer_put, METH_O,
     "Append all rows and return True, or none of them and return False."},
    {"finish", (PyCFunction)(void (*)(void))writer_finish, METH_O, "Store the last state and ring."},
    {"ring", (PyCFunction)(void (*)(void))writer_ring, METH_NOARGS, "Wake the readers that are parked."},
    {"use_bells", (PyCFunction)(void (*)(void))writer_use_bells, METH_O,
     "Ring these Bells, or none, from now on."},
    {"close", (PyCFunction)(void (*)(void))writer_close, METH_NOARGS, "Let go of the mapping."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef writer_getset[] = {
    {"published", (getter)writer_published, NULL, "Records published so far.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_doc, "Writer(mapped, slot, slot_size, capacity): the only writer of a channel."},
    {Py_tp_new, writer_new},
    {Py_tp_dealloc, writer_dealloc},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getset},
    {0, NULL},
};

static PyType_Spec writer_spec = {
    "pipeline.channels._native.Writer", sizeof(Writer), 0, Py_TPFLAGS_DEFAULT, writer_slots};

/* RingReader ---------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    Py_buffer place_view;
    channel_t channel;
    char *place; /* our slot in readers.ctl */
    uint64_t cursor, lapped, lost;
    uint64_t view_first, view_count; /* the records of the view, count 0 where there is none */
    unsigned int when_lapped;
} RingReader;

/* What a reader does when it was overtaken; native.py passes these for WhenLapped. */
enum { LAPPED_OLDEST, LAPPED_LATEST, LAPPED_RAISE };

static word_t *place_word(RingReader *self, size_t offset)
{
    return (word_t *)(void *)(self->place + offset);
}

static void show_loss(RingReader *self)
{
    store_relaxed(place_word(self, READER_LAPPED), self->lapped);
    store_relaxed(place_word(self, READER_LOST), self->lost);
}

/* Count `lost` records as one lap; where the reader asks for it, return the number as an int, which
 * native.py raises: a new reference, or NULL without an error. */
static PyObject *count_loss(RingReader *self, uint64_t lost)
{
    if (lost == 0)
        return NULL;
    self->lapped += 1;
    self->lost += lost;
    show_loss(self);
    return self->when_lapped == LAPPED_RAISE ? PyLong_FromUnsignedLongLong(lost) : NULL;
}

static PyObject *ring_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *mapped, *readers;
    Py_ssize_t slot_size;
    unsigned long long capacity;
    unsigned int index, when_lapped;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OnKOII", &mapped, &slot_size, &capacity, &readers, &index,
                          &when_lapped))
        return NULL;
    if (index >= READERS_MAX)
        return PyErr_Format(PyExc_ValueError, "reader %u of %d", index, READERS_MAX);
    if (when_lapped > LAPPED_RAISE)
        return PyErr_Format(PyExc_ValueError, "when_lapped %u", when_lapped);
    RingReader *self = (RingReader *)new_object(type);
    if (self == NULL)
        return NULL;
    if (open_channel(mapped, slot_size, capacity, false, &self->view, &self->channel) < 0 ||
        map_readers(readers, &self->place_view) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->place = (char *)self->place_view.buf + SLOTS * 8 + index * READER_SIZE;
    self->when_lapped = when_lapped;
    self->cursor = ring_end(&self->channel);
    store_release(place_word(self, READER_CURSOR), self->cursor);
    show_loss(self);
    return (PyObject *)self;
}

/* Drop the `torn` oldest of the records in `rows`. */
static int drop_torn(PyObject *rows, uint64_t torn, size_t record)
{
    char *bytes = PyByteArray_AsString(rows);
    size_t size = (size_t)PyByteArray_Size(rows), gone = torn * record;
    memmove(bytes, bytes + gone, size - gone);
    return PyByteArray_Resize(rows, (Py_ssize_t)(size - gone));
}

/* Fail where the oldest intact record is not the one that belongs there. */
static int check_seq(PyObject *rows, uint64_t expected)
{
    uint64_t seq;
    memcpy(&seq, PyByteArray_AsString(rows), 8);
    if (seq == expected)
        return 0;
    PyErr_Format(PyExc_AssertionError, "seq %llu in place of %llu", (unsigned long long)seq,
                 (unsigned long long)expected);
    return -1;
}

static int not_viewing(RingReader *self)
{
    if (self->view_count == 0)
        return 0;
    PyErr_SetString(PyExc_AssertionError, "a view was not released");
    return -1;
}

/* Return from where the reader goes on, by its lag policy. */
static uint64_t first_of(RingReader *self, uint64_t end)
{
    return self->when_lapped == LAPPED_LATEST ? ring_newest(&self->channel, self->cursor, end)
                                              : ring_first(&self->channel, self->cursor, end);
}

static uint64_t end_of(RingReader *self, uint64_t up_to)
{
    uint64_t end = ring_end(&self->channel);
    return up_to < end ? up_to : end;
}

/* Move on behind the copy of `count` records behind `first`, of which the first `torn` are torn;
 * return how many of the records to keep. `end` becomes up to where to look if that is none. */
static uint64_t move_on(RingReader *self, uint64_t first, uint64_t count, uint64_t torn,
                        uint64_t up_to, uint64_t *end)
{
    if (torn > 0 && self->when_lapped == LAPPED_LATEST) {
        *end = end_of(self, up_to); /* the cursor is overtaken: on with the newest */
        return 0;
    }
    bool lapped = torn > 0 || first > self->cursor;
    if (lapped && self->when_lapped == LAPPED_RAISE) {
        self->cursor = *end = first + torn;
        return 0;
    }
    self->cursor = first + count;
    return count - torn;
}

/* Copy up to `end`, then drop what a claim has reached meanwhile. */
static PyObject *read_intact(RingReader *self, uint64_t limit, uint64_t up_to, uint64_t *end)
{
    uint64_t first = first_of(self, *end);
    uint64_t count = *end - first < limit ? *end - first : limit;
    size_t record = 8 * self->channel.slot_words;
    PyObject *rows = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(count * record));
    if (rows == NULL)
        return NULL;
    uint64_t torn = ring_copy(&self->channel, first, count, PyByteArray_AsString(rows));
    torn = count - move_on(self, first, count, torn, up_to, end);
    if ((torn > 0 && drop_torn(rows, torn, record) < 0) ||
        (torn < count && check_seq(rows, first + torn + 1) < 0)) {
        Py_DECREF(rows);
        return NULL;
    }
    return rows;
}

static PyObject *ring_reader_read(RingReader *self, PyObject *const *args, Py_ssize_t count)
{
    if (self->view.obj == NULL)
        return closed();
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "read(limit, up_to)");
        return NULL;
    }
    uint64_t limit = PyLong_AsUnsignedLongLong(args[0]);
    if (limit == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    /* Acquire fence: who passes up_to has just loaded it from another reader's cursor, in Python;
     * that load before ours. */
    atomic_thread_fence(memory_order_acquire);
    uint64_t up_to = UINT64_MAX;
    if (args[1] != Py_None) {
        up_to = PyLong_AsUnsignedLongLong(args[1]);
        if (up_to == (uint64_t)-1 && PyErr_Occurred())
            return NULL;
    }
    uint64_t before = self->cursor, received = 0, end = end_of(self, up_to);
    if (not_viewing(self) < 0)
        return NULL;
    if (end <= before)
        Py_RETURN_NONE;
    PyObject *rows = NULL;
    while (received == 0 && self->cursor < end) {
        Py_XDECREF(rows);
        rows = read_intact(self, limit, up_to, &end);
        if (rows == NULL)
            return NULL;
        received = (uint64_t)PyByteArray_Size(rows) / (8 * self->channel.slot_words);
    }
    PyObject *lost = count_loss(self, self->cursor - before - received);
    if (lost == NULL && !PyErr_Occurred())
        return rows;
    Py_DECREF(rows);
    return lost;
}

static PyObject *ring_reader_view(RingReader *self, PyObject *argument)
{
    if (self->view.obj == NULL)
        return closed();
    uint64_t limit = PyLong_AsUnsignedLongLong(argument);
    if ((limit == (uint64_t)-1 && PyErr_Occurred()) || not_viewing(self) < 0)
        return NULL;
    uint64_t before = self->cursor, end = ring_end(&self->channel);
    if (end == before)
        Py_RETURN_NONE;
    uint64_t first = first_of(self, end);
    self->cursor = first;
    PyObject *lost = count_loss(self, first - before);
    if (lost != NULL || PyErr_Occurred())
        return lost;
    uint64_t count = end - first < limit ? end - first : limit;
    count = ring_in_one_piece(&self->channel, first, count);
    self->view_first = first;
    self->view_count = count;
    self->cursor = first + count;
    uint64_t at = first & self->channel.mask;
    return Py_BuildValue("KK", (unsigned long long)at, (unsigned long long)(at + count));
}

static PyObject *ring_reader_release(RingReader *self, PyObject *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    uint64_t torn = ring_torn(&self->channel, self->view_first, self->view_count);
    self->view_count = 0;
    Py_XDECREF(count_loss(self, torn)); /* the caller gets the number in any case */
    return PyErr_Occurred() ? NULL : PyLong_FromUnsignedLongLong(torn);
}

static PyObject *ring_reader_follow(RingReader *self, PyObject *args)
{
    PyObject *mapped;
    unsigned long long capacity, base;
    if (!PyArg_ParseTuple(args, "OKK", &mapped, &capacity, &base) || not_viewing(self) < 0)
        return NULL;
    if (self->view.obj == NULL)
        return closed();
    Py_buffer view;
    channel_t channel;
    Py_ssize_t slot_size = (Py_ssize_t)(8 * self->channel.slot_words);
    if (open_channel(mapped, slot_size, capacity, false, &view, &channel) < 0)
        return NULL;
    PyBuffer_Release(&self->view);
    self->view = view;
    self->channel = channel;
    self->lost += base - self->cursor;
    self->cursor = base;
    show_loss(self);
    Py_RETURN_NONE;
}

static PyObject *ring_reader_commit(RingReader *self, PyObject *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    /* Release: what we put and published for these records before the cursor that says so. */
    store_release(place_word(self, READER_CURSOR), self->cursor);
    Py_RETURN_NONE;
}

static PyObject *ring_reader_close(RingReader *self, PyObject *unused)
{
    (void)unused;
    PyBuffer_Release(&self->view);
    PyBuffer_Release(&self->place_view);
    Py_RETURN_NONE;
}

static void ring_reader_dealloc(RingReader *self)
{
    PyBuffer_Release(&self->view);
    PyBuffer_Release(&self->place_view);
    free_object((PyObject *)self);
}

/* Wait and read in one call: between the moment at which a record is there and the moment at which
 * Python has it lies nothing but taking the GIL back; the array for it was made before. Without the
 * GIL nothing of `self` is touched: others may move it on, close it or, through the mapping, try to
 * unmap, which our own export of the mapping forbids. */
typedef struct {
    channel_t channel;
    uint64_t cursor;
    int64_t spin_ns, slice_ns;
    bool yielding;
    Bell *bell; /* or NULL: do not park; a new reference */
} wait_t;

/* Take the native bell of a NativeBell. */
static int wait_bell(wait_t *wait, PyObject *bell)
{
    wait->bell = NULL;
    if (bell == NULL || bell == Py_None)
        return 0;
    PyObject *core = PyObject_GetAttrString(bell, "core");
    if (core == NULL)
        return -1;
    if (Py_TYPE(core) == bell_type && ((Bell *)core)->view.obj != NULL) {
        wait->bell = (Bell *)core;
        return 0;
    }
    if (Py_TYPE(core) == bell_type)
        closed();
    else
        PyErr_SetString(PyExc_TypeError, "Bell or None");
    Py_DECREF(core);
    return -1;
}

static int wait_arguments(wait_t *wait, PyObject *const *args, Py_ssize_t count)
{
    if (count < 5 || count > 7) {
        PyErr_SetString(PyExc_TypeError,
                        "wait(read, make_row, slice_ns, limit, spin_ns, yielding=False, bell=None)");
        return -1;
    }
    wait->slice_ns = PyLong_AsLongLong(args[2]);
    wait->spin_ns = PyLong_AsLongLong(args[4]);
    wait->yielding = count > 5 && PyObject_IsTrue(args[5]) == 1;
    return PyErr_Occurred() ? -1 : wait_bell(wait, count > 6 ? args[6] : NULL);
}

/* Spin, then park; return an errno as bell_sleep does. Runs without the GIL. */
static int wait_for_ring(const wait_t *wait)
{
    int code = 0;
    if (!ring_spin(&wait->channel, wait->cursor, wait->spin_ns, wait->yielding) && wait->bell) {
        bell_park(wait->bell->bell);
        if (!ring_ready(&wait->channel, wait->cursor))
            code = bell_sleep(wait->bell->bell, wait->slice_ns);
        bell_unpark(wait->bell->bell);
    }
    /* On their way while the GIL is taken. */
    __builtin_prefetch((const void *)slot_of(&wait->channel, wait->cursor));
    __builtin_prefetch((const void *)(wait->channel.words + CLAIMED));
    return code;
}

/* Copy the next record into `row` and return true, if nobody has moved us meanwhile and the record
 * is the only one and whole. What else there is to say, read says. */
static bool read_one(RingReader *self, const wait_t *wait, char *row)
{
    if (self->channel.words != wait->channel.words || self->cursor != wait->cursor ||
        ring_end(&wait->channel) != wait->cursor + 1 ||
        ring_copy(&wait->channel, wait->cursor, 1, row) != 0)
        return false;
    uint64_t seq;
    memcpy(&seq, row, 8);
    if (seq != wait->cursor + 1)
        return false;
    self->cursor += 1;
    return true;
}

/* Make an array for one record and take its buffer. */
static PyObject *make_row(RingReader *self, PyObject *make, Py_buffer *view)
{
    PyObject *row = PyObject_CallNoArgs(make);
    if (row == NULL || PyObject_GetBuffer(row, view, PyBUF_WRITABLE) < 0)
        goto failed;
    if ((size_t)view->len == 8 * self->channel.slot_words)
        return row;
    PyErr_Format(PyExc_ValueError, "a row of %zd bytes, expected %zu", view->len,
                 8 * self->channel.slot_words);
    PyBuffer_Release(view);
failed:
    Py_XDECREF(row);
    return NULL;
}

/* Wait with `wait`, and copy the record into `row`; return 1 if that is all there is to do, 0 if
 * not, -1 with an error. */
static int wait_and_read(RingReader *self, wait_t *wait, char *row)
{
    int code;
    Py_buffer mapping;
    if (PyObject_GetBuffer(self->view.obj, &mapping, PyBUF_SIMPLE) < 0)
        return -1;
    wait->channel = self->channel;
    wait->cursor = self->cursor;
    if (wait->bell)
        wait->bell->sleeping++;
    Py_BEGIN_ALLOW_THREADS
    code = wait_for_ring(wait);
    Py_END_ALLOW_THREADS
    if (wait->bell)
        wait->bell->sleeping--;
    int done = self->view.obj != NULL && read_one(self, wait, row);
    PyBuffer_Release(&mapping);
    if (code == 0 || code == EAGAIN || code == EINTR || code == ETIMEDOUT)
        return done;
    futex_failed(code);
    return -1;
}

static PyObject *ring_reader_wait(RingReader *self, PyObject *const *args, Py_ssize_t count)
{
    wait_t wait;
    if (self->view.obj == NULL)
        return closed();
    if (not_viewing(self) < 0 || wait_arguments(&wait, args, count) < 0)
        return NULL;
    PyObject *rows = NULL;
    int done = 0;
    if (!ring_ready(&self->channel, self->cursor)) {
        Py_buffer view;
        rows = make_row(self, args[1], &view);
        done = rows == NULL ? -1 : wait_and_read(self, &wait, view.buf);
        if (rows != NULL)
            PyBuffer_Release(&view);
    }
    Py_XDECREF((PyObject *)wait.bell);
    if (done == 1)
        return rows;
    Py_XDECREF(rows);
    return done < 0 ? NULL : PyObject_CallFunctionObjArgs(args[0], args[3], NULL);
}

#define COUNTER(name)                                                         \
    static PyObject *ring_reader_##name(RingReader *self, void *unused)       \
    {                                                                         \
        (void)unused;                                                         \
        return PyLong_FromUnsignedLongLong(self->name);                       \
    }
COUNTER(cursor)
COUNTER(lapped)
COUNTER(lost)

#define LOOK(name, make, expression)                                          \
    static PyObject *ring_reader_##name(RingReader *self, void *unused)       \
    {                                                                         \
        (void)unused;                                                         \
        return self->view.obj == NULL ? closed() : make(expression);          \
    }
LOOK(published, PyLong_FromUnsignedLongLong, ring_end(&self->channel))
LOOK(ready, PyBool_FromLong, ring_ready(&self->channel, self->cursor))
LOOK(superseded, PyBool_FromLong, ring_superseded(&self->channel, self->cursor))
LOOK(ended, PyBool_FromLong, ring_ended(&self->channel, self->cursor))
LOOK(abandoned, PyBool_FromLong,
     load_acquire(self->channel.words + STATE) == STATE_ABANDONED)

static PyMethodDef ring_reader_methods[] = {
    {"read", (PyCFunction)(void (*)(void))ring_reader_read, METH_FASTCALL,
     "read(limit, up_to): a bytearray of the next records, or None; up_to may be None. The number "
     "of records lost where that is to be raised."},
    {"view", (PyCFunction)(void (*)(void))ring_reader_view, METH_O,
     "view(limit): the slots of the next records, from and up to, or None; lost as with read."},
    {"release", (PyCFunction)(void (*)(void))ring_reader_release, METH_NOARGS,
     "End the view: how many of its oldest records were overtaken."},
    {"follow", (PyCFunction)(void (*)(void))ring_reader_follow, METH_VARARGS,
     "follow(mapped, capacity, base): go on in the next segment, behind the record base."},
    {"commit", (PyCFunction)(void (*)(void))ring_reader_commit, METH_NOARGS,
     "Say that everything read so far has been handled."},
    {"close", (PyCFunction)(void (*)(void))ring_reader_close, METH_NOARGS,
     "Let go of the mappings."},
    {"wait", (PyCFunction)(void (*)(void))ring_reader_wait, METH_FASTCALL,
     "wait(read, make_row, slice_ns, limit, spin_ns, yielding, bell): spin, then park where there "
     "is a bell. The array of make_row() with the only record there is, else read(limit)."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ring_reader_getset[] = {
    {"cursor", (getter)ring_reader_cursor, NULL, "Seq of the last record read or lost.", NULL},
    {"lapped", (getter)ring_reader_lapped, NULL, "Times it was overtaken.", NULL},
    {"lost", (getter)ring_reader_lost, NULL, "Records it lost by that.", NULL},
    {"published", (getter)ring_reader_published, NULL, "Records that may be read.", NULL},
    {"ready", (getter)ring_reader_ready, NULL, "A look is worth while.", NULL},
    {"ended", (getter)ring_reader_ended, NULL, "Closed, and all of it read.", NULL},
    {"superseded", (getter)ring_reader_superseded, NULL, "To be followed, all of it read.", NULL},
    {"abandoned", (getter)ring_reader_abandoned, NULL, "The writer ended by an error.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot ring_reader_slots[] = {
    {Py_tp_doc, "RingReader(mapped, slot_size, capacity, readers, index, when_lapped): one of many "
                "readers."},
    {Py_tp_new, ring_reader_new},
    {Py_tp_dealloc, ring_reader_dealloc},
    {Py_tp_methods, ring_reader_methods},
    {Py_tp_getset, ring_reader_getset},
    {0, NULL},
};

static PyType_Spec ring_reader_spec = {"pipeline.channels._native.RingReader", sizeof(RingReader),
                                       0, Py_TPFLAGS_DEFAULT, ring_reader_slots};

/* SlotReader: the reader of a queue or of a cell ---------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer view;
    channel_t channel;
    uint64_t seen; /* cell: number of the value returned last */
} SlotReader;

static PyObject *slot_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *mapped;
    Py_ssize_t slot_size;
    unsigned long long capacity;
    int writable;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "OnKp", &mapped, &slot_size, &capacity, &writable))
        return NULL;
    SlotReader *self = (SlotReader *)new_object(type);
    if (self == NULL)
        return NULL;
    if (open_channel(mapped, slot_size, capacity, writable, &self->view, &self->channel) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static PyObject *slot_reader_take(SlotReader *self, PyObject *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    if (self->view.readonly) {
        PyErr_SetString(PyExc_ValueError, "the mapping is read-only");
        return NULL;
    }
    /* Acquire fence: who takes behind another reader's cursor has just loaded that, in Python. */
    atomic_thread_fence(memory_order_acquire);
    uint64_t count = queue_waiting(&self->channel);
    if (count == 0)
        Py_RETURN_NONE;
    if (count > capacity_of(&self->channel))
        return PyErr_Format(PyExc_AssertionError, "%llu records wait in a queue of %llu",
                            (unsigned long long)count,
                            (unsigned long long)capacity_of(&self->channel));
    size_t size = count * 8 * self->channel.slot_words;
    PyObject *rows = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (rows != NULL)
        queue_take(&self->channel, count, PyByteArray_AsString(rows));
    return rows;
}

static PyObject *slot_reader_latest(SlotReader *self, PyObject *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    if (ring_end(&self->channel) == self->seen)
        Py_RETURN_NONE;
    size_t size = 8 * self->channel.slot_words;
    PyObject *row = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (row != NULL)
        self->seen = cell_latest(&self->channel, self->seen, PyByteArray_AsString(row));
    return row;
}

static PyObject *slot_reader_close(SlotReader *self, PyObject *unused)
{
    (void)unused;
    PyBuffer_Release(&self->view);
    Py_RETURN_NONE;
}

static void slot_reader_dealloc(SlotReader *self)
{
    PyBuffer_Release(&self->view);
    free_object((PyObject *)self);
}

static PyObject *slot_reader_waiting(SlotReader *self, void *unused)
{
    (void)unused;
    if (self->view.obj == NULL)
        return closed();
    return PyLong_FromUnsignedLongLong(queue_waiting(&self->channel));
}

static PyMethodDef slot_reader_methods[] = {
    {"take", (PyCFunction)(void (*)(void))slot_reader_take, METH_NOARGS,
     "Queue: a bytearray of everything that waits, or None."},
    {"latest", (PyCFunction)(void (*)(void))slot_reader_latest, METH_NOARGS,
     "Cell: a bytearray of the value, or None if there is none newer than the last."},
    {"close", (PyCFunction)(void (*)(void))slot_reader_close, METH_NOARGS,
     "Let go of the mapping."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef slot_reader_getset[] = {
    {"waiting", (getter)slot_reader_waiting, NULL, "Queue: put and not taken.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slot_reader_slots[] = {
    {Py_tp_doc, "SlotReader(mapped, slot_size, capacity, writable): of a queue or a cell."},
    {Py_tp_new, slot_reader_new},
    {Py_tp_dealloc, slot_reader_dealloc},
    {Py_tp_methods, slot_reader_methods},
    {Py_tp_getset, slot_reader_getset},
    {0, NULL},
};

static PyType_Spec slot_reader_spec = {"pipeline.channels._native.SlotReader", sizeof(SlotReader),
                                       0, Py_TPFLAGS_DEFAULT, slot_reader_slots};

/* Watch --------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Py_buffer views[WATCHED_MAX];
    watch_t watch;
    int spinning; /* threads inside spin without the GIL */
} Watch;

static int watch_add(Watch *self, PyObject *pair)
{
    PyObject *mapped;
    Py_ssize_t offset;
    size_t at = self->watch.count;
    if (at == WATCHED_MAX) {
        PyErr_Format(PyExc_ValueError, "more than %d words", WATCHED_MAX);
        return -1;
    }
    if (!PyArg_ParseTuple(pair, "On", &mapped, &offset))
        return -1;
    if (offset < 0 || offset % 8) {
        PyErr_Format(PyExc_ValueError, "offset %zd is not that of a word", offset);
        return -1;
    }
    if (map_buffer(mapped, &self->views[at], false, offset + 8) < 0)
        return -1;
    self->watch.words[at] = (word_t *)self->views[at].buf + offset / 8;
    self->watch.count = at + 1;
    return 0;
}

static void watch_release(Watch *self)
{
    for (size_t n = 0; n < WATCHED_MAX; n++)
        PyBuffer_Release(&self->views[n]);
    self->watch.count = 0;
}

static PyObject *watch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *pairs;
    (void)kwargs;
    if (!PyArg_ParseTuple(args, "O!", &PyTuple_Type, &pairs))
        return NULL;
    Watch *self = (Watch *)new_object(type);
    if (self == NULL)
        return NULL;
    for (Py_ssize_t n = 0; n < PyTuple_Size(pairs); n++) {
        if (watch_add(self, PyTuple_GetItem(pairs, n)) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    watch_look(&self->watch);
    return (PyObject *)self;
}

static PyObject *watch_look_method(Watch *self, PyObject *unused)
{
    (void)unused;
    watch_look(&self->watch);
    Py_RETURN_NONE;
}

static PyObject *watch_spin_method(Watch *self, PyObject *args)
{
    long long spin_ns;
    int yielding;
    if (!PyArg_ParseTuple(args, "Lp", &spin_ns, &yielding))
        return NULL;
    bool changed;
    self->spinning++;
    Py_BEGIN_ALLOW_THREADS
    changed = watch_spin(&self->watch, spin_ns, yielding);
    Py_END_ALLOW_THREADS
    self->spinning--;
    return PyBool_FromLong(changed);
}

static PyObject *watch_close(Watch *self, PyObject *unused)
{
    (void)unused;
    if (self->spinning) {
        PyErr_SetString(PyExc_BufferError, "somebody spins on this watch");
        return NULL;
    }
    watch_release(self);
    Py_RETURN_NONE;
}

static void watch_dealloc(Watch *self)
{
    watch_release(self);
    free_object((PyObject *)self);
}

static PyMethodDef watch_methods[] = {
    {"look", (PyCFunction)(void (*)(void))watch_look_method, METH_NOARGS,
     "Note the words as they are now."},
    {"spin", (PyCFunction)(void (*)(void))watch_spin_method, METH_VARARGS,
     "spin(spin_ns, yielding): True when a word differs from the last look, False after spin_ns."},
    {"close", (PyCFunction)(void (*)(void))watch_close, METH_NOARGS, "Let go of the mappings."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, "Watch(words): u64 words, as a tuple of (mapping, offset), that others write."},
    {Py_tp_new, watch_new},
    {Py_tp_dealloc, watch_dealloc},
    {Py_tp_methods, watch_methods},
    {0, NULL},
};

static PyType_Spec watch_spec = {
    "pipeline.channels._native.Watch", sizeof(Watch), 0, Py_TPFLAGS_DEFAULT, watch_slots};

/* The module ---------------------------------------------------------------------------------- */

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **keep)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type == NULL)
        return -1;
    if (PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    if (keep != NULL)
        *keep = (PyTypeObject *)type;
    else
        Py_DECREF(type); /* the module has it */
    return 0;
}

/* What this was compiled for; native.py compares it with layout.py. */
static int add_layout(PyObject *module)
{
    PyObject *layout = Py_BuildValue(
        "{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i}", "VERSION", LAYOUT_VERSION,
        "CLAIMED", CLAIMED, "PUBLISHED", PUBLISHED, "STATE", STATE, "TAKEN", TAKEN, "FULL", FULL, "SLOTS_OFFSET", SLOTS * 8,
        "PARKED_OFFSET", PARKED_BYTES, "READER", READER_SIZE, "cursor", READER_CURSOR, "lapped",
        READER_LAPPED, "lost", READER_LOST, "bell", READER_BELL, "READERS_MAX", READERS_MAX);
    if (layout == NULL)
        return -1;
    int failed = PyModule_AddObjectRef(module, "LAYOUT", layout);
    Py_DECREF(layout);
    return failed;
}

static int execute(PyObject *module)
{
    if (add_type(module, &bell_spec, &bell_type) < 0 ||
        add_type(module, &bells_spec, &bells_type) < 0 ||
        add_type(module, &writer_spec, NULL) < 0 ||
        add_type(module, &ring_reader_spec, NULL) < 0 ||
        add_type(module, &slot_reader_spec, NULL) < 0 || add_type(module, &watch_spec, NULL) < 0)
        return -1;
    if (PyModule_AddIntConstant(module, "OLDEST", LAPPED_OLDEST) < 0 ||
        PyModule_AddIntConstant(module, "LATEST", LAPPED_LATEST) < 0 ||
        PyModule_AddIntConstant(module, "RAISE", LAPPED_RAISE) < 0)
        return -1;
    return add_layout(module);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef module_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "pipeline.channels._native",
    .m_doc = "The protocol of the channels in C; see native.py.",
    .m_size = 0,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}
