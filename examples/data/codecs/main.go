// D5 codecs: a tour of the ways to write text, numbers and values as bytes, and
// of the ways to tell one message from the next; and a tool that answers
// questions about encodings.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "codecs",
		Summary: "A tour of encodings and framings; and a tool that answers questions about them.",
		Example: `
go run ./examples/data/codecs text -text "¡Qué niño! 5 €"
go run ./examples/data/codecs order -value 4253
echo '{"codec":"latin1","op":"encode","in":"caf\u00e9"}' | go run ./examples/data/codecs answer
`,
		Commands: []cli.Command{
			{Name: "text", Summary: "one text in every encoding, with its bytes", Setup: text},
			{Name: "order", Summary: "one number in both byte orders", Setup: order},
			{Name: "framing", Summary: "the same messages in every framing, with their sizes", Setup: patterns},
			{Name: "prefixes", Summary: "which formats know where a value ends", Setup: prefixes},
			{Name: "records", Summary: "the same records in text and in binary, sizes and times", Setup: records},
			{Name: "transfer", Summary: "where a transfer spends its time, over a slow and a fast link", Setup: transfer},
			{Name: "answer", Summary: "answers the questions of standard input, one JSON object a line", Setup: answers},
			{Name: "demo", Summary: "the tour", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// why says an error of package codec without the words that are said already.
func why(err error) string {
	if e, ok := errors.AsType[*codec.Error](err); ok {
		if e.Offset >= 0 {
			return fmt.Sprintf("byte %d: %s", e.Offset, e.Reason)
		}
		return e.Reason
	}
	return strings.TrimPrefix(err.Error(), "codec: ")
}

// brief shows the first bytes of b in hexadecimal.
func brief(b []byte, most int) string {
	if len(b) > most {
		return fmt.Sprintf("% x …", b[:most])
	}
	return fmt.Sprintf("% x", b)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, step := range []struct {
			stdin string
			args  []string
			want  []string
		}{
			{"", []string{"text"}, []string{
				"utf-8         19  c2 a1 51 75 c3 a9 20 6e 69 c3 b1 6f",
				"no: byte 16: it has no '€' (U+20AC)",
			}},
			{"", []string{"text", "-text", "señor.example"}, []string{"xn--seor-hqa.example"}},
			{"", []string{"order"}, []string{"00 00 10 9d", "9d 10 00 00"}},
			{"", []string{"framing"}, []string{"not noticed", "noticed"}},
			{"", []string{"prefixes"}, []string{"knows its end"}},
			{"", []string{"records", "-many", "300", "-time", "2ms"}, []string{"msgpack", "gob"}},
			{"", []string{"transfer", "-many", "500", "-rate", "400000"}, []string{"over loopback"}},
			{
				"{\"codec\":\"latin1\",\"op\":\"encode\",\"in\":\"caf\\u00e9\"}\n{\"codec\":\"utf-8\",\"op\":\"decode\",\"in\":\"c0af\"}\n",
				[]string{"answer"},
				[]string{"{\"out\":\"636166e9\"}\n{\"error\":\""},
			},
		} {
			out, err := env.Play(ctx, step.stdin, step.args...)
			if err != nil {
				return err
			}
			for _, want := range step.want {
				if !strings.Contains(out, want) {
					return fmt.Errorf("%s does not show %q", step.args[0], want)
				}
			}
		}
		return nil
	}
}
