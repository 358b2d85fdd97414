package httpx

import (
	"io"
	"syscall"
)

// besideHeader is how much of a large file goes beside the header. Without that
// the client is woken for the header alone: measured, a fifth more work for both.
const besideHeader = 512

// A sendable is a file, be it an *os.File or the part of one that io.Copy sees.
type sendable interface {
	io.ReadSeeker
	syscall.Conn
}

// ReadFrom implements [io.ReaderFrom]. A file whose length and type the handler
// has said goes from the disk to the network within the kernel (sendfile), or if
// it fits into the buffer beside the header, with it in one write.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	limited, _ := src.(*io.LimitedReader)
	file, left := src, int64(1)<<62
	if limited != nil {
		file, left = limited.R, limited.N
	}
	f, ok := file.(sendable)
	if !ok || w.beforeBody(0) != nil || w.length < 0 || !w.said.contentType || w.req.Method == "HEAD" {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	left = min(left, w.length-w.written)
	if !w.sent.Load() {
		w.send(nil)
	}
	bw := w.c.bw
	first := left
	if first > int64(bw.Available()) {
		first = min(besideHeader, int64(bw.Available()))
	}
	k, err := io.ReadFull(f, bw.AvailableBuffer()[:first])
	_, _ = bw.Write(bw.AvailableBuffer()[:k])
	n = int64(k)
	if err == nil && n < left {
		if err = bw.Flush(); err == nil {
			var rest int64
			rest, err = w.sendFile(f, left-n)
			n += rest
		}
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil // shorter than it was said to be: finish sees it
	}
	w.written += n
	if limited != nil {
		limited.N -= n
	}
	return n, err
}

// sendFile writes left bytes of a file, while the client takes them.
func (w *response) sendFile(f sendable, left int64) (n int64, err error) {
	if w.c.tcp == nil {
		return io.CopyN(w.c, f, left)
	}
	start, err := f.Seek(0, io.SeekCurrent)
	seekable := err == nil
	for {
		w.c.setWriteDeadline()
		k, err := w.c.tcp.ReadFrom(&io.LimitedReader{R: f, N: left - n})
		n += k
		if err == nil || w.c.excuse(err, k) != nil || !seekable {
			return n, err
		}
		// Where there is no sendfile, more was read than was written.
		if _, err := f.Seek(start+n, io.SeekStart); err != nil {
			return n, err
		}
	}
}
