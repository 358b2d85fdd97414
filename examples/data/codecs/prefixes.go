package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// A student is the record of this tour.
type student struct {
	Name   string  `json:"name" msgpack:"name"`
	ID     uint32  `json:"id" msgpack:"id"`
	Phones []int64 `json:"phones" msgpack:"phones"`
	Grade  float64 `json:"grade" msgpack:"grade"`
	Paid   bool    `json:"paid" msgpack:"paid"`
}

// A format is tried with two values, one behind the other.
type format struct {
	name  string
	write func() ([]byte, error) // the first value
	whole func(data []byte) bool // is that one value, from the first byte to the last?
	two   func() ([]byte, error) // the second value, of the same kind
}

// prefixes finds out which formats know where a value ends, by the property
// itself: no value is the beginning of another. It gives a decoder longer and
// longer beginnings of a stream and sees how many of them it takes for a value.
func prefixes(*flag.FlagSet) cli.Action {
	return func(_ context.Context, env *cli.Env) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Two values, one behind the other. How many beginnings of that are a whole value?\n")
		w := table(&b)
		fmt.Fprintf(w, "values\tbytes\twhole values end at\t\n")
		list, err := formats()
		if err != nil {
			return err
		}
		for _, f := range list {
			a, err := f.write()
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			c, err := f.two()
			if err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			ends := f.ends(append(a[:len(a):len(a)], c...))
			verdict := "knows its end"
			if len(ends) != 1 || ends[0] != len(a) {
				verdict = "needs framing"
			}
			fmt.Fprintf(w, "%s\t%d + %d\t%s\t%s\n", f.name, len(a), len(c), some(ends), verdict)
		}
		w.Flush()
		_, err = fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// ends returns the lengths of the beginnings of stream that are whole values.
func (f format) ends(stream []byte) (at []int) {
	for n := range len(stream) + 1 {
		if f.whole(stream[:n]) {
			at = append(at, n)
		}
	}
	return at
}

// some shows numbers, not all of them where they are many.
func some(numbers []int) string {
	const most = 5
	more := ""
	if len(numbers) > most {
		more = fmt.Sprintf(" … (%d in all)", len(numbers))
		numbers = numbers[:most]
	}
	return strings.Trim(fmt.Sprint(numbers), "[]") + more
}

func formats() (list []format, err error) {
	ana := student{"Ana", 7, []int64{914_000_001}, 9.5, true}
	luis := student{"Luis", 8, nil, 7, false}
	values := func(c codec.Codec, name string, one, two any, into func() any) {
		list = append(list, format{
			name:  name,
			write: func() ([]byte, error) { return c.Marshal(one) },
			two:   func() ([]byte, error) { return c.Marshal(two) },
			whole: func(data []byte) bool { return c.Unmarshal(data, into()) == nil },
		})
	}
	asStudent := func() any { return new(student) }
	asNumber := func() any { return new(uint32) }
	values(codec.Gob{}, "gob, a student", ana, luis, asStudent)
	values(codec.Gob{}, "gob, a number", uint32(12), uint32(34), asNumber)
	values(codec.MessagePack{}, "MessagePack, a student", ana, luis, asStudent)
	values(codec.MessagePack{}, "MessagePack, a number", uint32(12), uint32(34), asNumber)
	values(codec.JSON{}, "JSON, a student", ana, luis, asStudent)
	values(codec.JSON{}, "JSON, a number", uint32(12), uint32(34), asNumber)
	list = append(list, format{
		name:  "struct >IdB",
		write: func() ([]byte, error) { return codec.Pack(">IdB", ana.ID, ana.Grade, ana.Paid) },
		two:   func() ([]byte, error) { return codec.Pack(">IdB", luis.ID, luis.Grade, luis.Paid) },
		whole: func(data []byte) bool { _, err := codec.Unpack(">IdB", data); return err == nil },
	})
	for _, name := range []string{"utf-8", "utf-16be", "base64", "zlib"} {
		t, err := codec.Lookup(name)
		if err != nil {
			return nil, err
		}
		list = append(list, format{
			name:  name + ", a text",
			write: func() ([]byte, error) { return t.Encode([]byte("Ana, 9.5")) },
			two:   func() ([]byte, error) { return t.Encode([]byte("Luis, 7")) },
			whole: func(data []byte) bool { _, err := t.Decode(data); return err == nil && len(data) > 0 },
		})
	}
	return list, nil
}
