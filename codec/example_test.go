package codec_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/framing"
)

// A client asks in one type and is answered in another, over one connection.
func Example() {
	type Question struct{ Name string }
	type Answer struct {
		Name  string
		Phone string
	}
	near, far := net.Pipe()
	defer near.Close()
	ctx := context.Background()

	go func() {
		defer far.Close()
		s := codec.NewStream[Answer, Question](framing.NewConn(far, nil, nil), codec.MessagePack{})
		for q, err := range s.Messages(ctx) {
			if err != nil || s.Send(ctx, Answer{q.Name, "555 0199"}) != nil {
				return
			}
		}
	}()

	s := codec.NewStream[Question, Answer](framing.NewConn(near, nil, nil), codec.MessagePack{})
	if err := s.Send(ctx, Question{"Ana"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Receive(ctx))
	// Output: {Ana 555 0199} <nil>
}

// The same four letters in several encodings.
func ExampleLookup() {
	for _, name := range []string{"utf-8", "latin1", "utf-16be", "base64", "ascii"} {
		text, err := codec.Lookup(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		wire, err := text.Encode([]byte("café"))
		fmt.Printf("%-8s  % x  %v\n", name, wire, err)
	}
	// Output:
	// utf-8     63 61 66 c3 a9  <nil>
	// latin1    63 61 66 e9  <nil>
	// utf-16be  00 63 00 61 00 66 00 e9  <nil>
	// base64    59 32 46 6d 77 36 6b 3d  <nil>
	// ascii       codec: ascii: encode: byte 3: it has no 'é' (U+00E9)
}

// Strict, and with replacements for who prefers that.
func ExampleText_Decode() {
	wire := []byte("caf\xe9") // Latin-1, taken for UTF-8
	text := codec.Text{}
	_, err := text.Decode(wire)
	fmt.Println(err)
	text.Replace = true
	out, err := text.Decode(wire)
	fmt.Println(string(out), err)
	// Output:
	// codec: utf-8: decode: byte 3: the text ends inside a character
	// caf� <nil>
}

// A stream is decoded as it is read.
func ExampleText_NewReader() {
	utf16, err := codec.Lookup("utf-16")
	if err != nil {
		fmt.Println(err)
		return
	}
	r := utf16.NewReader(strings.NewReader("\xff\xfeh\x00o\x00l\x00a\x00\n\x00"))
	if _, err := io.Copy(os.Stdout, r); err != nil {
		fmt.Println(err)
	}
	// Output: hola
}

// A few bytes that become many stop at the limit.
func ExampleText_bomb() {
	text, err := codec.Lookup("zip")
	if err != nil {
		fmt.Println(err)
		return
	}
	bomb, err := text.Encode(make([]byte, 8<<20))
	if err != nil {
		fmt.Println(err)
		return
	}
	text.MaxSize = 1 << 20
	_, err = text.Decode(bomb)
	fmt.Println(errors.Is(err, codec.ErrTooLarge))
	// Output: true
}

// The value codecs are one interface: the same record in three formats.
func ExampleCodec() {
	type Point struct{ X, Y int }
	for _, name := range []string{"json", "msgpack", "gob"} {
		c, err := codec.LookupCodec(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		wire, err := c.Marshal(Point{3, 4})
		if err != nil {
			fmt.Println(err)
			return
		}
		var p Point
		err = c.Unmarshal(wire, &p)
		fmt.Println(c.Name(), p, err)
	}
	// Output:
	// json {3 4} <nil>
	// msgpack {3 4} <nil>
	// gob {3 4} <nil>
}

// Check tells whether bytes are JSON, and where not, without building a value.
func ExampleJSON_Check() {
	for _, text := range []string{`{"a": [1, 2]}`, `{"a": [1, 2}`, `"\ud800"`} {
		fmt.Println(codec.JSON{}.Check([]byte(text)))
	}
	// Output:
	// <nil>
	// codec: json: decode: byte 11: invalid character '}' after array element
	// codec: json: decode: byte 1: \ud800 is half a surrogate pair
}

// With a limit: what comes from a peer may be no larger.
func ExampleGob() {
	c := codec.Gob{MaxSize: 1000}
	wire, err := c.Marshal(map[string]int{"Ana": 9})
	if err != nil {
		fmt.Println(err)
		return
	}
	var grades map[string]int
	fmt.Println(c.Unmarshal(wire, &grades), grades)
	fmt.Println(c.Unmarshal(make([]byte, 2000), &grades))
	// Output:
	// <nil> map[Ana:9]
	// codec: gob: decode: 2000 bytes, more than 1000
}

// An any takes whatever comes, keys that are numbers and extensions included.
func ExampleMessagePack() {
	var v any
	err := codec.MessagePack{}.Unmarshal([]byte("\x82\x01\xa3one\x02\xd4\x05\x00"), &v)
	fmt.Println(v, err)
	err = codec.MessagePack{}.Unmarshal([]byte("\xdd\xff\xff\xff\xff"), &v) // an array of 4,294,967,295
	fmt.Println(err)
	// Output:
	// map[1:one 2:{5 [0]}] <nil>
	// codec: msgpack: decode: byte 0: an array of 4294967295, and 0 bytes follow
}

// One number in both orders of its bytes.
func ExamplePack() {
	for _, format := range []string{"<i", ">i"} {
		b, err := codec.Pack(format, 4253)
		fmt.Printf("%s  % x %v\n", format, b, err)
	}
	// Output:
	// <i  9d 10 00 00 <nil>
	// >i  00 00 10 9d <nil>
}

// The fixed part of a UDP header, RFC 768.
func ExampleLayout() {
	udp, err := codec.Compile("!4H")
	if err != nil {
		fmt.Println(err)
		return
	}
	header, err := udp.Pack(5353, 53, 8+29, 0)
	fmt.Printf("% x %v\n", header, err)
	fields, err := udp.Unpack(header)
	fmt.Println(udp.Size(), fields, err)
	// Output:
	// 14 e9 00 35 00 25 00 00 <nil>
	// 8 [5353 53 37 0] <nil>
}

// A question and its answer on any stream, here both in memory.
func ExampleStream() {
	var wire bytes.Buffer
	s := codec.NewStream[map[string]int, json.RawMessage](framing.NewConn(&wire, framing.Delimiter{}, nil), codec.JSON{})
	if err := s.Send(context.Background(), map[string]int{"n": 1}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", wire.String())
	v, err := s.Receive(context.Background())
	fmt.Printf("%s %v\n", v, err)
	// Output:
	// "{\"n\":1}\n"
	// {"n":1} <nil>
}
