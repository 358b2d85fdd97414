package codec

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// deflated is content compressed with DEFLATE (RFC 1951) between a header and a
// checksum: zlib, RFC 1950, or gzip, RFC 1952.
type deflated struct{ gzip bool }

func (d deflated) label() string {
	if d.gzip {
		return "gzip"
	}
	return "zlib"
}

func (d deflated) encode(t Text, src []byte) ([]byte, error) {
	var out sliceWriter
	w := d.writer(t, &out)
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out, nil
}

func (d deflated) decode(t Text, src []byte) ([]byte, error) {
	// A buffer that grows with what has really come out: the size that the
	// header of a gzip file claims is not believed.
	var out sliceWriter
	if _, err := io.Copy(&out, d.inflater(t, bytes.NewReader(src))); err != nil {
		return nil, err
	}
	return out, nil
}

func (d deflated) reader(t Text, r io.Reader) io.Reader {
	return d.inflater(t, bufio.NewReaderSize(r, pieceSize))
}

func (d deflated) inflater(t Text, r byteReader) *inflater {
	return &inflater{deflated: d, src: &counter{r: r}, left: bound(t.MaxSize, defaultMaxSize)}
}

func (d deflated) writer(_ Text, w io.Writer) io.WriteCloser {
	if d.gzip {
		return &deflater{WriteCloser: gzip.NewWriter(w)}
	}
	return &deflater{WriteCloser: zlib.NewWriter(w)}
}

// A deflater can be closed again, which a zlib.Writer cannot.
type deflater struct {
	io.WriteCloser
	closed bool
}

// Write compresses p.
func (d *deflater) Write(p []byte) (int, error) {
	if d.closed {
		return 0, errWriterClosed
	}
	return d.WriteCloser.Write(p)
}

// Close writes the end.
func (d *deflater) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	return d.WriteCloser.Close()
}

// A byteReader is what package flate reads without taking more than it needs.
type byteReader interface {
	io.Reader
	io.ByteReader
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// A counter counts the bytes that are taken from r.
type counter struct {
	r byteReader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// An inflater decompresses. The headers are read here and not by the packages
// of the standard library, which differ from zlib, the C library that everybody
// else uses, in what they take for valid.
type inflater struct {
	deflated
	src  *counter
	left int64 // bytes that may still come out

	open    bool // inside a member
	members int
	body    io.ReadCloser
	sum     hash.Hash32
	size    uint32 // of the member, modulo 2³², as gzip counts it
	given   int64
	err     error
}

// Read reads decompressed bytes.
func (z *inflater) Read(p []byte) (int, error) {
	for n := 0; ; {
		if z.err == nil && !z.open {
			z.err = z.header()
		}
		if n > 0 || z.err != nil || len(p) == 0 {
			return n, z.err
		}
		n = z.inflate(p)
	}
}

// inflate reads once from the member that is open.
func (z *inflater) inflate(p []byte) int {
	if int64(len(p)) > z.left {
		p = p[:max(z.left, 1)] // one byte more tells whether the limit is passed
	}
	n, err := z.body.Read(p)
	if int64(n) > z.left {
		z.err = tooLarge(z.label(), z.src.n, "more than %d bytes come out", z.given)
		return 0
	}
	z.sum.Write(p[:n])
	z.size += uint32(n)
	z.left -= int64(n)
	z.given += int64(n)
	switch {
	case err == io.EOF:
		z.err = z.trailer()
	case err != nil:
		z.err = z.damaged(err)
	}
	return n
}

// take reads one byte of what is not compressed.
func (z *inflater) take() (byte, error) {
	c, err := z.src.ReadByte()
	if err != nil {
		return 0, z.damaged(err)
	}
	return c, nil
}

func (z *inflater) takeN(n int) (b [8]byte, err error) {
	for i := range n {
		if b[i], err = z.take(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// damaged explains an error of the reader below or of package flate.
func (z *inflater) damaged(err error) error {
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return malformed(z.label(), z.src.n, "the compressed data is damaged, shortly before")
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return cut(z.label(), z.src.n, "the data ends too early, after %d bytes have come out", z.given)
	}
	return err
}

func (z *inflater) header() error {
	var err error
	if z.gzip {
		err = z.gzipHeader()
		z.sum, z.size = crc32.NewIEEE(), 0
	} else {
		err = z.zlibHeader()
		z.sum = adler32.New()
	}
	if err != nil {
		return err
	}
	if z.body == nil {
		z.body = flate.NewReader(z.src)
	} else if err := z.body.(flate.Resetter).Reset(z.src, nil); err != nil {
		return err
	}
	z.open = true
	return nil
}

// zlibHeader reads two bytes, RFC 1950 section 2.2.
func (z *inflater) zlibHeader() error {
	b, err := z.takeN(2)
	if err != nil {
		return err
	}
	switch {
	case binary.BigEndian.Uint16(b[:])%31 != 0:
		return malformed("zlib", 0, "the header's check is wrong: no zlib data")
	case b[0]&0x0F != 8:
		return malformed("zlib", 0, "compression method %d, only 8 is known", b[0]&0x0F)
	case b[0]>>4 > 7:
		return malformed("zlib", 0, "a window of 2^%d bytes, more than 32 KiB", b[0]>>4+8)
	case b[1]&0x20 != 0:
		return malformed("zlib", 1, "it needs a preset dictionary")
	}
	return nil
}

// The flags of a gzip header, RFC 1952 section 2.3.1.
const (
	gzipHeaderCRC = 1 << 1
	gzipExtra     = 1 << 2
	gzipName      = 1 << 3
	gzipComment   = 1 << 4
)

// gzipHeader reads the header of the next member. Like CPython it takes the
// data without any member for the compressed form of nothing, and ignores zeros
// after a member, which some tapes are filled with.
func (z *inflater) gzipHeader() error {
	first, err := z.src.ReadByte()
	for err == nil && first == 0 && z.members > 0 {
		first, err = z.src.ReadByte()
	}
	if err == io.EOF {
		return io.EOF
	}
	if err != nil {
		return err
	}
	at := z.src.n - 1
	if first != 0x1F {
		if z.members > 0 {
			return malformed("gzip", at, "0x%02X after the end of a member", first)
		}
		return malformed("gzip", at, "it begins with 0x%02X, not 1F 8B: no gzip data", first)
	}
	b, err := z.takeN(1)
	if err != nil {
		return err
	}
	if b[0] != 0x8B {
		return malformed("gzip", at, "it begins with 1F %02X, not 1F 8B: no gzip data", b[0])
	}
	if b, err = z.takeN(8); err != nil {
		return err
	}
	method, flags := b[0], b[1]
	if method != 8 {
		return malformed("gzip", at+2, "compression method %d, only 8 is known", method)
	}
	if flags&gzipExtra != 0 {
		if b, err = z.takeN(2); err != nil {
			return err
		}
		for range binary.LittleEndian.Uint16(b[:]) {
			if _, err := z.take(); err != nil {
				return err
			}
		}
	}
	for _, flag := range []byte{gzipName, gzipComment} {
		for more := flags&flag != 0; more; {
			c, err := z.take()
			if err != nil {
				return err
			}
			more = c != 0
		}
	}
	if flags&gzipHeaderCRC != 0 {
		_, err = z.takeN(2)
	}
	return err
}

// trailer checks what follows the compressed data.
func (z *inflater) trailer() error {
	z.open = false
	z.members++
	if !z.gzip {
		b, err := z.takeN(4)
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint32(b[:]) != z.sum.Sum32() {
			return malformed("zlib", z.src.n-4, "the checksum is wrong")
		}
		switch _, err := z.src.ReadByte(); err {
		case io.EOF:
			return io.EOF
		case nil:
			return malformed("zlib", z.src.n-1, "more after the end of the stream")
		default:
			return err
		}
	}
	b, err := z.takeN(8)
	switch {
	case err != nil:
		return err
	case binary.LittleEndian.Uint32(b[:]) != z.sum.Sum32():
		return malformed("gzip", z.src.n-8, "the checksum is wrong")
	case binary.LittleEndian.Uint32(b[4:]) != z.size:
		return malformed("gzip", z.src.n-4, "the size is wrong")
	}
	return nil
}
