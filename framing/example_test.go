package framing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/zocalo-go/zocalo/framing"
)

// A client and a server that speak in length-prefixed messages.
func Example() {
	ctx := context.Background()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &framing.Server{Handler: framing.Reply(func(_ context.Context, msg []byte) ([]byte, error) {
		return bytes.ToUpper(msg), nil
	})}
	go server.Serve(ctx, ln)
	defer server.Close()

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	c := framing.NewConn(conn, framing.Prefix{}, nil)
	defer c.Close()
	if err := c.Send(ctx, []byte("hello"), []byte("world")); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		msg, err := c.Receive(ctx)
		fmt.Printf("%s %v\n", msg, err)
	}
	// Output:
	// HELLO <nil>
	// WORLD <nil>
}

// The same message in several formats.
func ExampleAppend() {
	for _, f := range []framing.Format{
		framing.Prefix{},
		framing.Prefix{Width: 2, LittleEndian: true},
		framing.Delimiter{},
		framing.Netstring{},
		framing.SLIP{},
		framing.COBS{},
	} {
		wire, err := framing.Append(f, nil, []byte("hi"))
		fmt.Printf("%-36T % x %v\n", f, wire, err)
	}
	// Output:
	// framing.Prefix                       00 00 00 02 68 69 <nil>
	// framing.Prefix                       02 00 68 69 <nil>
	// framing.Delimiter                    68 69 0a <nil>
	// framing.Netstring                    32 3a 68 69 2c <nil>
	// framing.SLIP                         c0 68 69 c0 <nil>
	// framing.COBS                         03 68 69 00 <nil>
}

func ExampleReader() {
	r := framing.NewReader(strings.NewReader("5:hello,5:world,9:cut"), framing.Netstring{})
	for msg, err := range r.Messages() {
		fmt.Printf("%q %v\n", msg, err)
	}
	// Output:
	// "hello" <nil>
	// "world" <nil>
	// "" framing: the stream ends inside a message, after 3 of 9 bytes: unexpected EOF
}

// A message over the limit costs itself only.
func ExampleReader_ReadMessage_limit() {
	r := framing.NewReader(strings.NewReader("short\nmuch too long a line\nshort again\n"), framing.Delimiter{})
	r.MaxSize = 12
	for range 3 {
		msg, err := r.ReadMessage()
		if size, ok := errors.AsType[*framing.SizeError](err); ok {
			fmt.Println("refused, the limit is", size.Max)
			continue
		}
		fmt.Printf("%s\n", msg)
	}
	// Output:
	// short
	// refused, the limit is 12
	// short again
}

// A large message is read piece by piece, in constant memory.
func ExampleReader_Next() {
	r := framing.NewReader(strings.NewReader("\x00\x00\x00\x0dsome megabyte"), nil)
	size, err := r.Next()
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := io.Copy(io.Discard, r)
	fmt.Println(size, n, err)
	// Output: 13 13 <nil>
}

// Queue batches small messages into one write.
func ExampleWriter() {
	w := framing.NewWriter(os.Stdout, framing.Delimiter{Delim: " | ", Escape: '\\'})
	for _, word := range []string{"one", "two words", "done"} {
		if err := w.Queue([]byte(word)); err != nil {
			fmt.Println(err)
		}
	}
	if err := w.Flush(); err != nil {
		fmt.Println(err)
	}
	// Output: one | two\ words | done |
}

// A message whose size is not known before is streamed in a format that needs
// no size.
func ExampleConn_NextWriter() {
	var stream bytes.Buffer
	c := framing.NewConn(&stream, framing.SLIP{}, nil)
	w, err := c.NextWriter(context.Background(), -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		fmt.Fprintf(w, "part %d;", i)
	}
	fmt.Println(w.Close())
	fmt.Printf("%q\n", stream.String())
	// Output:
	// <nil>
	// "\xc0part 0;part 1;part 2;\xc0"
}

// A handler has the whole connection: here it greets first and then counts.
func ExampleServer() {
	ctx := context.Background()
	s := &framing.Server{
		Format: framing.Delimiter{},
		Handler: func(ctx context.Context, c *framing.Conn) error {
			if err := c.Send(ctx, []byte("welcome")); err != nil {
				return err
			}
			n := 0
			for _, err := range c.Messages(ctx) {
				if err != nil {
					return err
				}
				n++
			}
			return c.Send(ctx, fmt.Append(nil, n, " lines"))
		},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	go s.Serve(ctx, ln)
	defer s.Close()

	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "a\nb\nc\n")
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(os.Stdout, conn)
	// Output:
	// welcome
	// 3 lines
}
