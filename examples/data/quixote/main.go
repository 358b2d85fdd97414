// D1 quixote: the server reads a text, the first chapter of Don Quixote, and
// sends it in the encoding that the client names; the client saves and shows it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

const (
	// coursePort is where the course's programs meet.
	coursePort = 1060

	// maxAsk bounds a request, in bytes.
	maxAsk = 1 << 10

	// maxHead bounds what comes before the text, in bytes.
	maxHead = 4 << 10

	// maxText bounds a text, in bytes, where no flag says otherwise.
	maxText = 16 << 20
)

// offered are the encodings of the exercise; whatever else [codec.Lookup] knows
// is sent too.
const offered = "utf-8, base64, idna, latin1, windows-1252, zip"

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "quixote",
		Summary: "The first chapter of Don Quixote, in the encoding that you name.",
		Example: `
go run ./examples/data/quixote server
go run ./examples/data/quixote client -encoding latin1
go run ./examples/data/quixote guess quijote.latin1
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "sends the text in the encoding that a client names", Setup: server},
			{Name: "client", Summary: "asks for the text, saves it and shows it", Setup: client},
			{Name: "guess", Summary: "finds out in which encoding files are, and says how sure it is", Args: "FILE...", Setup: guess},
			{Name: "demo", Summary: "asks for every encoding, then guesses those of the files", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// An Ask is what the client sends: one message, as JSON.
type Ask struct {
	Encoding string `json:"encoding"`
	// Replace asks for a question mark, or U+FFFD, in the place of characters
	// that the encoding does not have. Without it they are an error.
	Replace bool `json:"replace,omitempty"`
}

// A Head is the server's answer: one message, as JSON. Unless Error is set a
// second message follows, which is the text in that encoding, its bytes as they
// are.
type Head struct {
	Error      string `json:"error,omitempty"`
	Encoding   string `json:"encoding,omitempty"`   // its usual name: "zlib" for "zip"
	Size       int    `json:"size,omitempty"`       // bytes of the message that follows
	Characters int    `json:"characters,omitempty"` // of the text that it decodes to
	Changed    int    `json:"changed,omitempty"`    // how many of them are others than in the server's text
	SHA256     string `json:"sha256,omitempty"`     // of the text that it decodes to, in UTF-8; hexadecimal
}

// encodings are the codecs of the two ends.
var (
	askCodec  = codec.JSON{MaxSize: maxAsk, MaxDepth: 4}
	headCodec = codec.JSON{MaxSize: maxHead, MaxDepth: 4}
)

// brief quotes the beginning of what a stranger sent.
func brief(s string) string {
	const most = 60
	n := 0
	for i := range s {
		if n == most {
			return fmt.Sprintf("%q…", s[:i])
		}
		n++
	}
	return fmt.Sprintf("%q", s)
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

// readFile reads a regular file of at most max bytes.
func readFile(name string, max int64) ([]byte, error) {
	info, err := os.Stat(name) // before Open, which would wait for the other end of a pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes, the most that -max allows", name, max)
	}
	return data, nil
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "quixote")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		srv, err := env.Start(ctx, "server", "-port", "0", "-opening")
		if err != nil {
			return err
		}
		defer srv.Stop()
		var files []string
		for _, encoding := range []string{"utf-8", "latin1", "windows-1252", "utf-16", "base64", "zip"} {
			file := filepath.Join(dir, "quijote."+encoding)
			files = append(files, file)
			out, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-encoding", encoding, "-lines", "1", "-o", file)
			if err != nil {
				return err
			}
			if !strings.Contains(out, "Capítulo primero. Que trata de la condición y ejercicio") {
				return fmt.Errorf("the text did not come in %s: %q", encoding, out)
			}
		}
		for _, bad := range []string{"idna", "ascii", "klingon"} {
			_, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-encoding", bad, "-o", filepath.Join(dir, "bad"))
			if err == nil {
				return fmt.Errorf("the text came in %s", bad)
			}
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		}
		if _, err := os.Stat(filepath.Join(dir, "bad")); err == nil {
			return errors.New("a file was saved although no text came")
		}
		out, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-encoding", "ascii", "-replace", "-lines", "1", "-o", filepath.Join(dir, "ascii"))
		if err != nil {
			return err
		}
		if !strings.Contains(out, "Cap?tulo primero. Que trata de la condici?n") {
			return fmt.Errorf("no question marks in %q", out)
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		if err := demoNames(ctx, env, dir); err != nil {
			return err
		}
		out, err = env.Play(ctx, "", append([]string{"guess"}, files...)...)
		if err != nil {
			return err
		}
		for _, file := range files {
			name := strings.TrimPrefix(filepath.Ext(file), ".")
			if name == "zip" {
				name = "zlib"
			}
			_, rest, _ := strings.Cut(out, file+": ")
			first, _, _ := strings.Cut(rest, "\n")
			if !strings.Contains(first, name) {
				return fmt.Errorf("%s was taken for %q", file, first)
			}
		}
		return nil
	}
}

// demoNames plays what idna is for, the names of hosts, and where it ends.
func demoNames(ctx context.Context, env *cli.Env, dir string) error {
	for i, name := range []string{"señor.quijote.example", strings.Repeat("ñandú", 13) + ".example"} {
		good := i == 0
		file := filepath.Join(dir, "name")
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0", "-file", file)
		if err != nil {
			return err
		}
		defer srv.Stop()
		_, err = env.Play(ctx, "", "client", "-port", srv.Port(), "-encoding", "idna", "-o", filepath.Join(dir, "idna"))
		switch {
		case good && err != nil:
			return err
		case !good && err == nil:
			return fmt.Errorf("a label of more than 63 octets came in idna: %s", name)
		}
		if err != nil {
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		}
		if err := srv.Stop(); err != nil {
			return err
		}
	}
	return nil
}
