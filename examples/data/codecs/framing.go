package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// record is the length of a message in the pattern of fixed length.
const record = 16

// A pattern is a way to tell one message from the next.
type pattern struct {
	name   string
	format framing.Format
	pad    bool // messages are filled with zeros to the length of a record
	alone  bool // each message takes a connection
}

// all are the patterns of the course, and some relatives.
var all = []pattern{
	{name: "to the end of the stream", format: framing.ToEOF{}, alone: true},
	{name: "fixed length, 16 bytes", format: framing.Fixed(record), pad: true},
	{name: "delimiter, a line feed", format: framing.Delimiter{}},
	{name: "delimiter, quoted by \\", format: framing.Delimiter{Escape: '\\'}},
	{name: "length first, 4 bytes", format: framing.Prefix{}},
	{name: "length first, 2 bytes", format: framing.Prefix{Width: 2}},
	{name: "length first, base 128", format: framing.Prefix{Width: framing.Uvarint}},
	{name: "netstring", format: framing.Netstring{}},
	{name: "COBS", format: framing.COBS{}},
}

// wire returns the messages as the pattern puts them on the wire: one stream,
// or as many as there are messages.
func (p pattern) wire(messages [][]byte) (streams [][]byte, err error) {
	var stream []byte
	for _, msg := range messages {
		if p.pad && len(msg) < record {
			msg = append(slices.Clip(msg), make([]byte, record-len(msg))...)
		}
		if stream, err = framing.Append(p.format, stream, msg); err != nil {
			return nil, err
		}
		if p.alone {
			streams = append(streams, stream)
			stream = nil
		}
	}
	if !p.alone {
		streams = [][]byte{stream}
	}
	return streams, nil
}

// read takes the messages off the streams again.
func (p pattern) read(streams [][]byte) (messages [][]byte, err error) {
	for _, stream := range streams {
		for msg, err := range framing.NewReader(bytes.NewReader(stream), p.format).Messages() {
			if err != nil {
				return messages, err
			}
			if p.pad {
				// Whether a zero at the end was filling or meant, nobody knows.
				msg = bytes.TrimRight(msg, "\x00")
			}
			messages = append(messages, bytes.Clone(msg))
		}
	}
	return messages, nil
}

func patterns(fs *flag.FlagSet) cli.Action {
	many := cli.Number(fs, "many", 1000, 1, 100_000, "so `many` messages in the last table")
	return func(_ context.Context, env *cli.Env) error {
		var b strings.Builder
		plain := [][]byte{[]byte("hola"), []byte("¿qué tal?"), {}, []byte("adiós")}
		fmt.Fprintf(&b, "The messages %q: %d bytes.\n", plain, size(plain))
		w := table(&b)
		fmt.Fprintf(w, "pattern\tbytes\tif the last byte is lost\ton the wire\n")
		for _, p := range all {
			streams, err := p.wire(plain)
			if err != nil {
				return err
			}
			if got, err := p.read(streams); err != nil || !slices.EqualFunc(got, plain, bytes.Equal) {
				return fmt.Errorf("%s: %q came back: %w", p.name, got, err)
			}
			loss, err := p.loss(streams, plain)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", p.name, size(streams), loss, brief(bytes.Join(streams, nil), 14))
		}
		w.Flush()

		awkward := [][]byte{[]byte("two\nlines"), []byte(`C:\new`), []byte("zero\x00"), []byte("more than sixteen bytes")}
		fmt.Fprintf(&b, "\nMessages that are awkward:\n")
		w = table(&b)
		fmt.Fprintf(w, "pattern")
		for _, msg := range awkward {
			fmt.Fprintf(w, "\t%q", msg)
		}
		fmt.Fprintln(w)
		for _, p := range all {
			fmt.Fprintf(w, "%s", p.name)
			for _, msg := range awkward {
				fmt.Fprintf(w, "\t%s", p.outcome(msg))
			}
			fmt.Fprintln(w)
		}
		w.Flush()

		messages := make([][]byte, *many)
		for i := range messages {
			messages[i] = fmt.Appendf(nil, "message %d%s", i, strings.Repeat("!", i%4))
		}
		payload := size(messages)
		fmt.Fprintf(&b, "\n%d messages of 9 to 16 bytes, %d bytes in all.\n", *many, payload)
		w = table(&b)
		for _, p := range all {
			streams, err := p.wire(messages)
			if err != nil {
				return err
			}
			extra := size(streams) - payload
			note := fmt.Sprintf("%.1f bytes a message, %.0f %%", float64(extra)/float64(*many), 100*float64(extra)/float64(payload))
			if p.alone {
				note = fmt.Sprintf("and %d connections, each 3 packets to open and 4 to close", *many)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\n", p.name, size(streams), note)
		}
		w.Flush()
		_, err := fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// size counts the bytes of several slices.
func size(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// loss cuts the last byte off, as a connection that breaks does, and says
// whether the receiver notices.
func (p pattern) loss(streams, want [][]byte) (string, error) {
	cut := slices.Clone(streams)
	last := len(cut) - 1
	cut[last] = cut[last][:len(cut[last])-1]
	got, err := p.read(cut)
	if err != nil {
		return "noticed", nil
	}
	if slices.EqualFunc(got, want, bytes.Equal) {
		return "", errors.New("a byte was cut off and nothing is missing")
	}
	return fmt.Sprintf("not noticed: %q", got[len(got)-1]), nil
}

// outcome says what becomes of one message.
func (p pattern) outcome(msg []byte) string {
	streams, err := p.wire([][]byte{msg})
	if err != nil {
		return "refused"
	}
	got, err := p.read(streams)
	switch {
	case err != nil:
		return "broken"
	case len(got) != 1 || !bytes.Equal(got[0], msg):
		return fmt.Sprintf("wrong: %q", bytes.Join(got, []byte("|")))
	}
	return fmt.Sprintf("%d bytes", size(streams))
}
