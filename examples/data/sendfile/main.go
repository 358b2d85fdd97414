// D4 sendfile: a file travels over TCP with its length in front, is stored
// whole or not at all, and the receiver says "Gracias".
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

const (
	// coursePort is where the course's programs meet.
	coursePort = 1060

	// maxLength is the longest file whose length four bytes can tell.
	maxLength = 1<<32 - 1

	// thanks is what the receiver answers, once the file is stored.
	thanks = "Gracias"

	// complaint begins every other answer.
	complaint = "error: "

	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 10

	// chunk is how much of a file is in memory at each end.
	chunk = 64 << 10
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "sendfile",
		Summary: "A file travels with its length in front and is stored whole or not at all.",
		Example: `
go run ./examples/data/sendfile server -dir /tmp
go run ./examples/data/sendfile client README.md
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "receives files into a folder, under names of its own choice", Setup: server},
			{Name: "client", Summary: "sends one file", Args: "FILE", Setup: client},
			{Name: "demo", Summary: "sends a text and a bigger file, then breaks a transfer off", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// The two directions of a connection carry different things: one way the
// length, four bytes, the most significant first, and the file; the other way
// the answer, plain text to the end of the stream.
var (
	ofSender   = twoWay{out: framing.Prefix{}, in: framing.ToEOF{}}
	ofReceiver = twoWay{out: framing.ToEOF{}, in: oneMessage{framing.Prefix{}}}
)

// twoWay is a [framing.Format] that sends in one format and receives in another.
type twoWay struct{ out, in framing.Format }

func (f twoWay) Encode(dst, p []byte, s *framing.State) ([]byte, int, error) {
	return f.out.Encode(dst, p, s)
}

func (f twoWay) Decode(dst, src []byte, s *framing.State) (int, int, error) {
	return f.in.Decode(dst, src, s)
}

// oneMessage is the format that it holds, for a stream of one message: a byte
// after that is an error.
type oneMessage struct{ framing.Format }

var errTooLong = &framing.FormatError{Format: "file", Reason: "the stream goes on after the length that it announced"}

func (f oneMessage) Decode(dst, src []byte, s *framing.State) (int, int, error) {
	switch {
	case s.Seq == 0:
		return f.Format.Decode(dst, src, s)
	case len(src) > 0:
		return 0, 0, errTooLong
	}
	return 0, 0, nil // nothing more has come: the end, or not yet
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "sendfile")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		store := filepath.Join(dir, "received")
		if err := os.Mkdir(store, 0o700); err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0", "-dir", store)
		if err != nil {
			return err
		}
		defer srv.Stop()

		text := []byte("En un lugar de la Mancha, de cuyo nombre no quiero acordarme…\n")
		noise := make([]byte, 5_000_000)
		source := rand.NewPCG(1605, 1615)
		for i := 0; i+8 <= len(noise); i += 8 {
			binary.BigEndian.PutUint64(noise[i:], source.Uint64())
		}
		for i, content := range [][]byte{text, noise} {
			name := filepath.Join(dir, []string{"quijote.txt", "noise.bin"}[i])
			if err := os.WriteFile(name, content, 0o600); err != nil {
				return err
			}
			out, err := env.Play(ctx, "", "client", "-progress=false", "-port", srv.Port(), name)
			if err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(store, fmt.Sprintf("received-%d", i+1)))
			if err != nil {
				return err
			}
			if !bytes.Equal(got, content) || !regexp.MustCompile(`SHA-256 [0-9a-f]{64}\n.*"Gracias"`).MatchString(out) {
				return fmt.Errorf("what was stored is not what was sent, or without thanks: %q", out)
			}
		}
		if err := demoCut(ctx, env, srv.Addr); err != nil {
			return err
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		entries, err := os.ReadDir(store)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			fmt.Fprintf(env.Stdout, "  in the folder: %s\n", entry.Name())
		}
		if len(entries) != 2 {
			return fmt.Errorf("%d files in the folder, not 2", len(entries))
		}
		return nil
	}
}

// demoCut plays a sender that announces a million bytes and stops half-way.
func demoCut(ctx context.Context, env *cli.Env, addr string) error {
	fmt.Fprintln(env.Stdout, "A sender announces 1000000 bytes and breaks off after 500000:")
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	half := make([]byte, 4+500_000)
	binary.BigEndian.PutUint32(half, 1_000_000)
	if _, err := conn.Write(half); err != nil {
		return err
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "  sender: %s answers %q\n", addr, answer)
	if !bytes.HasPrefix(answer, []byte(complaint)) {
		return errors.New("half a file was not refused")
	}
	return nil
}
