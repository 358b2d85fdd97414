package cache

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadAnswer(t *testing.T) {
	for _, test := range []struct {
		wire string
		want answer
		err  error
	}{
		{"HD\r\n", answer{status: "HD"}, nil},
		{"HD O7\r\n", answer{status: "HD", opaque: 7, hasOpaque: true}, nil},
		{"EN\r\n", answer{status: "EN"}, nil},
		{"NF O1 b kx\r\n", answer{status: "NF", opaque: 1, hasOpaque: true}, nil},
		{"VA 0\r\n\r\n", answer{status: "VA", value: []byte{}}, nil},
		{"VA 2 t-1 f3 c4 O5 W\r\n\r\n\r\n", answer{status: "VA", value: []byte("\r\n"), flags: 3, cas: 4, opaque: 5, hasOpaque: true}, nil},
		{"VA 1 t0\r\nx\r\n", answer{status: "VA", value: []byte("x"), ttl: time.Second}, nil},
		{"VA 1 t18446744073709551615\r\nx\r\n", answer{status: "VA", value: []byte("x"), ttl: maxSeconds * time.Second}, nil},
		{"SERVER_ERROR out of memory\r\n", answer{refusal: "SERVER_ERROR out of memory"}, nil},
		{"ERROR\r\n", answer{refusal: "ERROR"}, nil},

		{"", answer{}, io.EOF},
		{"H", answer{}, io.ErrUnexpectedEOF},
		{"HD\r", answer{}, io.ErrUnexpectedEOF},
		{"VA 5\r\nhell", answer{}, io.ErrUnexpectedEOF},
		{"VA 5\r\nhello", answer{}, io.ErrUnexpectedEOF},
		{"HD\n", answer{}, errAnswer},
		{"\r\n", answer{}, errAnswer},
		{"HDX\r\n", answer{}, errAnswer},
		{"hd\r\n", answer{}, errAnswer},
		{"VA\r\n", answer{}, errAnswer},
		{"VA x\r\n", answer{}, errAnswer},
		{"VA -1\r\n", answer{}, errAnswer},
		{"VA 65\r\n", answer{}, errAnswer},
		{"VA 18446744073709551616\r\n", answer{}, errAnswer},
		{"VA 1\r\nxy\r\n", answer{}, errAnswer},
		{"HD Ox\r\n", answer{}, errAnswer},
		{"HD O\r\n", answer{}, errAnswer},
		{"HD O4294967296\r\n", answer{}, errAnswer},
		{"HD f4294967296\r\n", answer{}, errAnswer},
		{strings.Repeat("x", 5000), answer{}, errAnswer},
	} {
		a, err := readAnswer(bufio.NewReader(strings.NewReader(test.wire)), 64)
		require.ErrorIs(t, err, test.err, "%.30q", test.wire)
		if err == nil {
			require.Equal(t, test.want, a, "%.30q", test.wire)
		} else {
			require.Less(t, len(err.Error()), 2*maxQuote)
		}
	}
}

// The answer to a get: only values that were asked for, in that order.
func TestReadValues(t *testing.T) {
	for _, test := range []struct {
		wire string
		want string // the values, "-" for a miss
		err  error
	}{
		{"END\r\n", "- - - -", nil},
		{"VALUE b 0 1\r\nB\r\nEND\r\n", "- B - -", nil},
		{"VALUE a 0 1\r\nA\r\nVALUE b 1 1 99\r\nB\r\nVALUE c 0 1\r\nC\r\nVALUE a 0 1\r\nD\r\nEND\r\n", "A B C D", nil},
		{"VALUE b 0 1\r\nB\r\nVALUE a 0 1\r\nA\r\nEND\r\n", "- B - A", nil}, // a was asked for twice
		{"VALUE c 0 1\r\nC\r\nVALUE b 0 1\r\nB\r\nEND\r\n", "", errAnswer},
		{"VALUE x 0 1\r\nX\r\nEND\r\n", "", errAnswer},
		{"VALUE b 0 65\r\n", "", errAnswer},
		{"VALUE b 0\r\nB\r\n", "", errAnswer},
		{"VALUE b 0 1\r\nBB\r\nEND\r\n", "", errAnswer},
		{"VALUE b 0 1\r\nB\r\n", "", io.ErrUnexpectedEOF},
		{"HD\r\n", "", errAnswer},
		{"SERVER_ERROR object too large for cache\r\n", "", ErrTooLarge}, // as a ReplyError
	} {
		x := exchange{keys: []string{"a", "b", "c", "a"}}
		err := x.read(bufio.NewReader(strings.NewReader(test.wire)), 64)
		require.ErrorIs(t, err, test.err, "%q", test.wire)
		if err != nil {
			continue
		}
		var got []string
		for _, a := range x.answers {
			if a.status == "EN" {
				a.value = []byte("-")
			}
			got = append(got, string(a.value))
		}
		require.Equal(t, test.want, strings.Join(got, " "))
	}
}

// After which refusals a connection is kept.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		wire    string
		carries bool
		kept    bool
	}{
		{"SERVER_ERROR object too large for cache", true, true},
		{"SERVER_ERROR out of memory storing object", true, true},
		{"SERVER_ERROR something else", true, false},
		{"SERVER_ERROR something else", false, true},
		{"CLIENT_ERROR bad data chunk", true, false},
		{"CLIENT_ERROR bad command line format", false, false},
		{"CLIENT_ERROR cannot increment or decrement non-numeric value", false, true},
		{"ERROR", false, false},
	} {
		x := exchange{want: 1, carries: test.carries}
		err := x.read(bufio.NewReader(strings.NewReader(test.wire+"\r\n")), 64)
		require.Equal(t, test.kept, err == nil, "%q: %v", test.wire, err)
		if err != nil {
			require.ErrorAs(t, err, new(*ReplyError))
		}
		require.Equal(t, test.wire, x.answers[0].refusal)
	}
}

// An answer to another kind of request, or to another one.
func TestWrongAnswer(t *testing.T) {
	for wire, want := range map[string]error{
		"HD O7\r\nHD O8\r\n":        nil,
		"HD\r\nNF\r\n":              nil,
		"HD O7\r\nHD O7\r\n":        errAnswer,
		"HD O8\r\nHD O7\r\n":        errAnswer,
		"HD O7\r\nEN\r\n":           errAnswer,
		"HD O7\r\nVA 1 O8\r\nx\r\n": errAnswer,
		"HD O7\r\nMN\r\n":           errAnswer,
		"HD O7\r\n":                 io.ErrUnexpectedEOF,
	} {
		x := exchange{want: 2, first: 7, expect: "HD NF"}
		require.ErrorIs(t, x.read(bufio.NewReader(strings.NewReader(wire)), 64), want, "%q", wire)
	}
}

func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{
		"VA 5 t-1 f0 c7 O42\r\nhello\r\n", "HD O1\r\nHD O2\r\n", "EN\r\n", "CLIENT_ERROR bad\r\n", "VA 4294967295\r\n",
		"VALUE a 0 1\r\nA\r\nEND\r\n", "STAT pid 1\r\nEND\r\n", "VA 1 \r\nx\r\n", "OK\r\n", "\x00\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := bufio.NewReader(bytes.NewReader(wire))
		for {
			a, err := readAnswer(r, 100)
			if err != nil {
				require.Less(t, len(err.Error()), 5*maxQuote)
				break
			}
			require.LessOrEqual(t, len(a.value), 100)
			// What was understood, said again, is understood as the same.
			again := a.refusal + "\r\n"
			if a.status != "" {
				again = a.status
				if a.status == "VA" {
					again += fmt.Sprintf(" %d", len(a.value))
				}
				ttl := int64(a.ttl / time.Second)
				if ttl == 0 {
					ttl = -1
				}
				again += fmt.Sprintf(" f%d c%d t%d", a.flags, a.cas, ttl)
				if a.hasOpaque {
					again += fmt.Sprintf(" O%d", a.opaque)
				}
				again += "\r\n"
				if a.status == "VA" {
					again += string(a.value) + "\r\n"
				}
			}
			b, err := readAnswer(bufio.NewReader(strings.NewReader(again)), 100)
			require.NoError(t, err, "%q", again)
			require.Equal(t, a, b)
		}
		for _, x := range []*exchange{{keys: []string{"a", "b", "a"}}, {stats: true, want: 1}, {want: 3, first: 1, expect: "VA HD EN NF"}} {
			if x.read(bufio.NewReader(bytes.NewReader(wire)), 100) == nil {
				require.Len(t, x.answers, max(x.want, len(x.keys)))
			}
		}
	})
}
