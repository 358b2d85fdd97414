package framing_test

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/zocalo-go/zocalo/framing"
)

// A contender writes messages one way and reads them back. The first is what
// everybody writes by hand and what the others are measured against.
type contender struct {
	name   string
	writer func(io.Writer) func([]byte) error
	reader func(r io.Reader, max int) func() (int, error)
}

func contenders() []contender {
	list := []contender{
		{"readfull", readFullWriter, readFullReader},
		{"gob", gobWriter, gobReader},
	}
	for _, f := range []struct {
		name   string
		format framing.Format
	}{
		{"prefix", framing.Prefix{}},
		{"uvarint", framing.Prefix{Width: framing.Uvarint}},
		{"delimiter", framing.Delimiter{}},
		{"quoted", framing.Delimiter{Escape: '\\'}},
		{"netstring", framing.Netstring{}},
		{"dotlines", framing.DotLines{Fix: true}},
		{"slip", framing.SLIP{}},
		{"cobs", framing.COBS{}},
	} {
		list = append(list, contender{
			f.name,
			func(w io.Writer) func([]byte) error { return framing.NewWriter(w, f.format).WriteMessage },
			func(r io.Reader, max int) func() (int, error) { return ourReader(r, f.format, max) },
		})
	}
	return list
}

func ourReader(r io.Reader, f framing.Format, max int) func() (int, error) {
	reader := framing.NewReader(r, f)
	reader.MaxSize = max
	return func() (int, error) {
		msg, err := reader.ReadMessage()
		return len(msg), err
	}
}

func readFullWriter(w io.Writer) func([]byte) error {
	var buf []byte
	return func(msg []byte) error {
		buf = append(binary.BigEndian.AppendUint32(buf[:0], uint32(len(msg))), msg...)
		_, err := w.Write(buf)
		return err
	}
}

func readFullReader(r io.Reader, max int) func() (int, error) {
	head, body := make([]byte, 4), make([]byte, max)
	return func() (int, error) {
		if _, err := io.ReadFull(r, head); err != nil {
			return 0, err
		}
		return io.ReadFull(r, body[:binary.BigEndian.Uint32(head)])
	}
}

func gobWriter(w io.Writer) func([]byte) error {
	enc := gob.NewEncoder(w)
	return func(msg []byte) error { return enc.Encode(msg) }
}

func gobReader(r io.Reader, _ int) func() (int, error) {
	dec := gob.NewDecoder(r)
	var msg []byte
	return func() (int, error) { err := dec.Decode(&msg); return len(msg), err }
}

var benchSizes = []int{64, 1 << 10, 64 << 10, 1 << 20}

// BenchmarkMemory writes a message to a bytes.Buffer and reads it back.
func BenchmarkMemory(b *testing.B) {
	for _, size := range benchSizes {
		msg := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		for _, c := range contenders() {
			b.Run(fmt.Sprintf("%d/%s", size, c.name), func(b *testing.B) {
				var wire bytes.Buffer
				write, read := c.writer(&wire), c.reader(&wire, size+2)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := write(msg); err != nil {
						b.Fatal(err)
					}
					if n, err := read(); err != nil || n < size {
						b.Fatal(n, err)
					}
				}
			})
		}
	}
}

// BenchmarkTCP sends messages over a loopback connection as fast as they are
// taken: each in a write of its own, and batched.
func BenchmarkTCP(b *testing.B) {
	for _, size := range benchSizes {
		msg := bytes.Repeat([]byte("0123456789abcdef"), size/16)
		prefix := func(r io.Reader, max int) func() (int, error) { return ourReader(r, framing.Prefix{}, max) }
		for _, c := range []contender{
			{"readfull", readFullWriter, readFullReader},
			{"unbatched", func(w io.Writer) func([]byte) error { return framing.NewWriter(w, nil).WriteMessage }, prefix},
			{"batched", func(w io.Writer) func([]byte) error { return framing.NewWriter(w, nil).Queue }, prefix},
		} {
			b.Run(fmt.Sprintf("%d/%s", size, c.name), func(b *testing.B) {
				near, far := tcpPair(b)
				write, read := c.writer(near), c.reader(far, size)
				done := make(chan struct{})
				go func() {
					defer close(done)
					for write(msg) == nil {
					}
				}()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if n, err := read(); err != nil || n != size {
						b.Fatal(n, err)
					}
				}
				near.Close()
				<-done
			})
		}
	}
}

// tcpPair returns the two ends of a loopback connection.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}
