// D2 students: a dialogue on one connection. A student's name goes out, the
// record comes back: name, id number and phone, serialised in the format that
// -codec names.
//
// Every message has its length before it, four bytes, big-endian. A question is
// a name in UTF-8, an empty one ends the dialogue. An answer is an [Answer] in
// the format of -codec, which both ends must have been told.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

const (
	maxName   = 1 << 10  // bytes of a question
	maxAnswer = 64 << 10 // bytes of an answer
)

// A Student is one record.
type Student struct {
	Name  string `json:"name" msgpack:"name" xml:"name"`
	ID    int64  `json:"id" msgpack:"id" xml:"id"`
	Phone string `json:"phone" msgpack:"phone" xml:"phone"`
}

// An Answer is a record or says why there is none: one of the two is there.
type Answer struct {
	Student *Student `json:"student,omitempty" msgpack:"student,omitempty" xml:"student,omitempty"`
	Error   string   `json:"error,omitempty" msgpack:"error,omitempty" xml:"error,omitempty"`
}

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "students",
		Summary: "A student's name goes out, the record comes back, in one of five serialisations.",
		Example: `
go run ./examples/data/students server -codec msgpack
go run ./examples/data/students client -codec msgpack -name "Ana López"
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "answers names with records", Setup: server},
			{Name: "client", Summary: "asks for -name, or for the names that you type; an empty line ends", Setup: client},
			{Name: "sizes", Summary: "compares the formats: the bytes of the same records in each", Setup: sizes},
			{Name: "demo", Summary: "plays a dialogue in each format, then compares their sizes", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, name := range formatNames {
			srv, err := env.Start(ctx, "server", "-port", "0", "-codec", name)
			if err != nil {
				return err
			}
			defer srv.Stop()
			out, err := env.Play(ctx, "Sofía Ñúñez\nDon Quijote\n\n", "client", "-port", srv.Port(), "-codec", name)
			if err != nil {
				return err
			}
			if !strings.Contains(out, `"Sofía Ñúñez", id 20200907`) || !strings.Contains(out, "no student") {
				return fmt.Errorf("with %s the answers are %q", name, out)
			}
			if name == "gob" {
				// Both ends must agree.
				_, err := env.Play(ctx, "", "client", "-port", srv.Port(), "-codec", "json", "-name", "Ana López")
				if err == nil {
					return errors.New("a gob was taken for JSON")
				}
				fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		_, err := env.Play(ctx, "", "sizes", "-count", "100")
		return err
	}
}
