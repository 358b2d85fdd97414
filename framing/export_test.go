package framing

// BufferSize is how much memory the Reader holds for the stream.
func (r *Reader) BufferSize() int { return len(r.buf) }

// Vectored reports whether large payloads go out uncopied in one system call.
func (w *Writer) Vectored() bool { return w.vectored }

// Waiting is how many bytes wait in the Writer's own memory.
func (w *Writer) Waiting() int { return len(w.buf) }
