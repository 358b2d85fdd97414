package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// table returns a writer of columns, to be flushed into b.
func table(b *strings.Builder) *tabwriter.Writer { return tabwriter.NewWriter(b, 0, 0, 2, ' ', 0) }

func text(fs *flag.FlagSet) cli.Action {
	in := fs.String("text", "¡Qué niño! 5 €", "the `text`, in UTF-8")
	most := cli.Number(fs, "bytes", 24, 1, 1<<20, "show so `many` bytes of each")
	return func(_ context.Context, env *cli.Env) error {
		if !utf8.ValidString(*in) {
			return cli.Usagef("-text is not UTF-8")
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%q: %d characters\n", *in, utf8.RuneCountInString(*in))
		w := table(&b)
		for _, name := range codec.Names() {
			t, err := codec.Lookup(name)
			if err != nil {
				return err
			}
			out, err := t.Encode([]byte(*in))
			if err != nil {
				fmt.Fprintf(w, "%s\t-\tno: %s\n", name, why(err))
				continue
			}
			back, err := t.Decode(out)
			if err != nil {
				return err
			}
			note := ""
			switch {
			case name == "base64" || name == "base64url" || name == "idna":
				note = fmt.Sprintf("  %q", out)
			case name == "base64-mime":
				note = fmt.Sprintf("  in lines of 76 letters: %d", bytes.Count(out, []byte("\n")))
			}
			if !bytes.Equal(back, []byte(*in)) {
				note += fmt.Sprintf("  and back it is %q", back)
			}
			fmt.Fprintf(w, "%s\t%d\t%s%s\n", name, len(out), brief(out, *most), note)
		}
		w.Flush()
		fmt.Fprintf(&b, "\nIn Go: len(s) is %d, the bytes; utf8.RuneCountInString(s) is %d; []rune(s)[0] is %s.\n",
			len(*in), utf8.RuneCountInString(*in), first(*in))
		_, err := fmt.Fprint(env.Stdout, b.String())
		return err
	}
}

// first shows the first character of s.
func first(s string) string {
	if s == "" {
		return "not there"
	}
	r, n := utf8.DecodeRuneInString(s)
	return fmt.Sprintf("%q, %U, bytes: %d", r, r, n)
}

func order(fs *flag.FlagSet) cli.Action {
	value := cli.Number(fs, "value", int64(4253), math.MinInt32, math.MaxInt32, "the `number`")
	return func(_ context.Context, env *cli.Env) error {
		var b strings.Builder
		fmt.Fprintf(&b, "%d in 32 bits, as Python's struct calls it and as Go writes it:\n", *value)
		w := table(&b)
		for _, row := range []struct{ format, name, goes string }{
			{">i", "big-endian, the network's", "binary.BigEndian.AppendUint32(nil, uint32(n))"},
			{"!i", "the network's again", "the same"},
			{"<i", "little-endian", "binary.LittleEndian.AppendUint32(nil, uint32(n))"},
			{"@i", "a PC's own, as a C compiler has it", "binary.NativeEndian, on that PC"},
		} {
			out, err := codec.Pack(row.format, *value)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t% x\t%s\t%s\n", row.format, out, row.name, row.goes)
		}
		w.Flush()

		big, err := codec.Pack(">i", *value)
		if err != nil {
			return err
		}
		if !bytes.Equal(big, binary.BigEndian.AppendUint32(nil, uint32(*value))) {
			return fmt.Errorf("%d: struct and encoding/binary disagree", *value)
		}
		wrong, err := codec.Unpack("<i", big)
		if err != nil {
			return err
		}
		own := "little-endian: it must turn numbers round for the network"
		if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
			own = "big-endian, as the network"
		}
		fmt.Fprintf(&b, "Read in the wrong order, % x is %d.\nThis computer is %s.\n", big, wrong[0], own)

		fmt.Fprintf(&b, "\nThe number in other widths, and as a float, in the network's order:\n")
		w = table(&b)
		for _, format := range []string{">b", ">h", ">i", ">q", ">e", ">f", ">d"} {
			out, err := codec.Pack(format, *value)
			if err != nil {
				fmt.Fprintf(w, "%s\tno: %s\n", format, why(err))
				continue
			}
			back, err := codec.Unpack(format, out)
			if err != nil {
				return err
			}
			note := ""
			if x, ok := back[0].(float64); ok && x != float64(*value) {
				note = fmt.Sprintf("  back it is %v: too few bits", x)
			}
			fmt.Fprintf(w, "%s\t% x%s\n", format, out, note)
		}
		w.Flush()

		// A C compiler leaves gaps, so that an int stands at a multiple of 4.
		fmt.Fprintf(&b, "\nA byte 7 and then the number:\n")
		w = table(&b)
		for _, row := range [][2]string{{">bi", "nothing between them"}, {"@bi", "as a C struct lies in a PC's memory: three bytes of filling"}} {
			out, err := codec.Pack(row[0], 7, *value)
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t% x\t%s\n", row[0], out, row[1])
		}
		w.Flush()
		_, err = fmt.Fprint(env.Stdout, b.String())
		return err
	}
}
