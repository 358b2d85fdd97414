// D3 turnchat: two people chat by turns over one TCP connection.
//
// Every message has its length before it, four bytes, big-endian, and is a
// [Message] in the format of -codec. The client sends its nick, the server sends
// its own; then they speak in turn, the client first, each one message, until
// one of them says bye. Bye may be said at any time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/zocalo-go/zocalo/codec"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/framing"
)

// coursePort is where the course's programs meet.
const coursePort = 1060

const (
	maxLine  = 4 << 10  // bytes of what is said in one turn
	maxFrame = 32 << 10 // bytes of a message: JSON may take six for one
	maxNick  = 32       // characters
)

// A Message is what goes over the connection.
type Message struct {
	Type    string `json:"type" msgpack:"type"` // nick, normal or bye
	Payload string `json:"payload" msgpack:"payload"`
}

// The types of messages.
const (
	nick   = "nick"   // the payload is the sender's name
	normal = "normal" // … what the sender says
	bye    = "bye"    // … the last words, or the reason; may be empty
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "turnchat",
		Summary: "Two people chat by turns over one connection.",
		Example: `
go run ./examples/data/turnchat server -nick Ana
go run ./examples/data/turnchat client -nick Bea
`,
		Commands: []cli.Command{
			{Name: "server", Summary: "waits for somebody to chat with; the other one begins", Setup: server},
			{Name: "client", Summary: "chats with a server and begins", Setup: client},
			{Name: "demo", Summary: "plays a chat in each format", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

// A user is the person on our side, as the flags describe her.
type user struct {
	nick    *string
	codec   *string
	say     *string
	idle    *time.Duration
	timeout *time.Duration
}

func userFlags(fs *flag.FlagSet, name string) *user {
	return &user{
		nick:    fs.String("nick", name, "your `name` in the chat"),
		codec:   cli.Choice(fs, "codec", "json", "`format` of the messages, the same on both sides", "json", "msgpack", "gob"),
		say:     fs.String("say", "", "say these `lines` instead of what you type"),
		idle:    cli.Number(fs, "idle", 10*time.Minute, time.Millisecond, 24*time.Hour, "end the chat when the other one says nothing for this `time`"),
		timeout: cli.Number(fs, "timeout", 10*time.Second, time.Millisecond, time.Hour, "wait this `time` for the connection, for the other one's nick, and for a message to get through"),
	}
}

// check says what is wrong with the flags.
func (u *user) check() error {
	if err := checkNick(*u.nick); err != nil {
		return cli.Usagef("-nick: %v", err)
	}
	return nil
}

// lines returns what the user says, line by line. The channel is closed at the
// end; an error of the input is told on errs.
func (u *user) lines(ctx context.Context, stdin io.Reader) (lines <-chan string, errs <-chan error) {
	if *u.say != "" {
		stdin = strings.NewReader(*u.say)
	}
	out, failed := make(chan string), make(chan error, 1)
	go func() {
		defer close(out)
		for line, err := range cli.Lines(ctx, stdin, maxLine) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case out <- line: // when it is our turn
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, failed
}

// config is how connections are to be.
func (u *user) config() framing.Config {
	return framing.Config{MaxSize: maxFrame, IdleTimeout: -1, ReadTimeout: *u.timeout, WriteTimeout: *u.timeout}
}

// stream puts messages on a connection.
func (u *user) stream(conn *framing.Conn) (*codec.Stream[Message, Message], error) {
	c, err := codec.LookupCodec(*u.codec)
	if err != nil {
		return nil, err
	}
	return codec.NewStream[Message, Message](conn, c), nil
}

// checkNick says what is wrong with a name. Names are printed before what is
// said, on terminals: a name must not look like something else.
func checkNick(name string) error {
	switch {
	case name == "":
		return errors.New("a nick is needed")
	case !utf8.ValidString(name):
		return errors.New("the nick is not UTF-8")
	case utf8.RuneCountInString(name) > maxNick:
		return fmt.Errorf("the nick has more than %d characters", maxNick)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) || r == ':' }):
		return errors.New("the nick has a space, a colon or a control character")
	}
	return nil
}

// printable takes control characters out of what a stranger sent: they could
// command the terminal, or end the line and go on in another's name.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		for _, format := range []string{"json", "msgpack", "gob"} {
			srv, err := env.Start(ctx, "server", "-port", "0", "-codec", format, "-nick", "Ana",
				"-say", "¡hola! :)\nme gusta mucho <3\nadiós ;)")
			if err != nil {
				return err
			}
			defer srv.Stop()
			out, err := env.Play(ctx, "hola, ¿qué tal? :D\nlee http://example.org :P\nbye\n",
				"client", "-port", srv.Port(), "-codec", format, "-nick", "Bea")
			if err != nil {
				return err
			}
			if !strings.Contains(out, "Ana: ¡hola! 🙂\n") || !strings.Contains(out, "Bea: lee http://example.org 😛\n") {
				return fmt.Errorf("the client shows %q", out)
			}
			if err := srv.Stop(); err != nil {
				return err
			}
		}
		return nil
	}
}
