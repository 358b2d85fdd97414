package codec_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/zocalo-go/zocalo/codec"
)

// record is a message of everyday size.
type record struct {
	Name    string
	ID      int
	Phone   string
	Grades  []float64
	Courses map[string]string
	Active  bool
}

// load is what is measured: a record, a list of them, and the same as an any.
func load(n int) []record {
	list := make([]record, n)
	for i := range list {
		list[i] = record{
			Name: fmt.Sprint("Dulcinea del Toboso ", i), ID: i * 1000, Phone: "+34 555 123 456",
			Grades: []float64{7.5, 8.25, 9, 10}, Active: i%2 == 0,
			Courses: map[string]string{"redes": "sobresaliente", "álgebra": "notable"},
		}
	}
	return list
}

// A contender marshals and unmarshals; the library is the first of each pair.
type contender struct {
	name      string
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

func contenders() []contender {
	return []contender{
		{"json/library", json.Marshal, json.Unmarshal},
		{"json/codec", codec.JSON{}.Marshal, codec.JSON{}.Unmarshal},
		{"msgpack/library", msgpack.Marshal, msgpack.Unmarshal},
		{"msgpack/codec", codec.MessagePack{}.Marshal, codec.MessagePack{}.Unmarshal},
		{"gob/library", gobMarshal, gobUnmarshal},
		{"gob/codec", codec.Gob{}.Marshal, codec.Gob{}.Unmarshal},
	}
}

func gobMarshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func gobUnmarshal(b []byte, v any) error { return gob.NewDecoder(bytes.NewReader(b)).Decode(v) }

func BenchmarkMarshal(b *testing.B) {
	for _, n := range []int{1, 100} {
		v := load(n)
		for _, c := range contenders() {
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.marshal(v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	for _, n := range []int{1, 100} {
		for _, c := range contenders() {
			wire, err := c.marshal(load(n))
			require.NoError(b, err)
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.SetBytes(int64(len(wire)))
				b.ReportAllocs()
				for b.Loop() {
					var v []record
					if err := c.unmarshal(wire, &v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkUnmarshalAny decodes without a type; gob cannot.
func BenchmarkUnmarshalAny(b *testing.B) {
	for _, n := range []int{1, 100} {
		for _, c := range contenders()[:4] {
			wire, err := c.marshal(load(n))
			require.NoError(b, err)
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.SetBytes(int64(len(wire)))
				b.ReportAllocs()
				for b.Loop() {
					var v any
					if err := c.unmarshal(wire, &v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkText converts 64 KiB of Spanish in each encoding, both ways.
func BenchmarkText(b *testing.B) {
	content := bytes.Repeat([]byte("En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo. "), 640)
	for _, name := range codec.Names() {
		if name == "idna" || name == "ascii" {
			continue
		}
		text := lookup(b, name)
		wire, err := text.Encode(content)
		require.NoError(b, err)
		b.Run(name+"/encode", func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := text.Encode(content); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := text.Decode(wire); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := io.Copy(io.Discard, text.NewReader(bytes.NewReader(wire))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLayout packs and unpacks a header of six fields.
func BenchmarkLayout(b *testing.B) {
	l, err := codec.Compile(">HHIIHH")
	require.NoError(b, err)
	values := []any{53, 4242, uint32(1), uint32(2), 0x5010, 65535}
	wire, err := l.Pack(values...)
	require.NoError(b, err)
	b.Run("pack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Pack(values...); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unpack", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Unpack(wire); err != nil {
				b.Fatal(err)
			}
		}
	})
}
