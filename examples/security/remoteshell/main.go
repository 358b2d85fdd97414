// T5 remoteshell: Unix commands on another machine, over TLS, for users who
// have proved that they know their passwords.
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

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	program := cli.Program{
		Name:    "remoteshell",
		Summary: "Unix commands on another machine, over TLS, with names and passwords.",
		Example: `
go run ./examples/security/remoteshell adduser -users users -name ana
go run ./examples/security/remoteshell server -port 2222 -users users -keys keys -dir . -log sessions.log
go run ./examples/security/remoteshell client -port 2222 -ca keys/root.pem -user ana -text "ls -l"
`,
		Commands: []cli.Command{
			{Name: "adduser", Summary: "adds a user to a file, with a salted slow hash of the password", Setup: addUser},
			{Name: "server", Summary: "runs the commands of users who have logged in", Setup: server},
			{Name: "client", Summary: "logs in and runs commands, from -text or standard input", Setup: client},
			{Name: "demo", Summary: "a session, and what is refused", Setup: demo},
		},
	}
	return program.Run(ctx, args, stdin, stdout, stderr)
}

func demo(*flag.FlagSet) cli.Action {
	return func(ctx context.Context, env *cli.Env) error {
		dir, err := os.MkdirTemp("", "remoteshell")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		work, users, keys, log := filepath.Join(dir, "work"), filepath.Join(dir, "users"), filepath.Join(dir, "keys"), filepath.Join(dir, "log")
		if err := os.Mkdir(work, 0o755); err != nil {
			return err
		}
		if _, err := env.Play(ctx, "open sesame\n", "adduser", "-users", users, "-name", "ana"); err != nil {
			return err
		}
		srv, err := env.Start(ctx, "server", "-port", "0", "-users", users, "-keys", keys, "-dir", work, "-log", log)
		if err != nil {
			return err
		}
		defer srv.Stop()
		login := func(user string) []string {
			return []string{"client", "-port", srv.Port(), "-ca", filepath.Join(keys, "root.pem"), "-user", user}
		}
		out, err := env.Play(ctx, "open sesame\npwd\ntouch letter\nmkdir post\nmv letter post\nls post\ncd post\nls\n", login("ana")...)
		if err != nil {
			return err
		}
		if strings.Count(out, "letter\n") != 2 {
			return fmt.Errorf("the file is not where it should be: %q", out)
		}
		for _, command := range []string{"rm -r post", "cat /etc/passwd", "ls ../..", "cp -t/etc post", "echo one; rm $HOME | cat > x"} {
			out, err := env.Play(ctx, "open sesame\n", append(login("ana"), "-text", command)...)
			if strings.HasPrefix(command, "echo") {
				if want := "one; rm $HOME | cat > x\n"; err != nil || out != want {
					return fmt.Errorf("%q, %v: no shell should have looked at it", out, err)
				}
				continue
			}
			if err == nil {
				return errors.New("it should have been refused")
			}
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		}
		// Wrong password, and nobody of that name: not a word's difference.
		var said []string
		for _, user := range []string{"ana", "nobody"} {
			_, err := env.Play(ctx, "not her password\n", append(login(user), "-text", "ls")...)
			if err == nil {
				return errors.New("a wrong password was taken")
			}
			said = append(said, cli.Explain(err))
			fmt.Fprintf(env.Stdout, "  client: %s\n", cli.Explain(err))
		}
		if said[0] != said[1] {
			return fmt.Errorf("the answers differ: %q", said)
		}
		if err := srv.Stop(); err != nil {
			return err
		}
		kept, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		for _, text := range []string{`"line":"mv letter post"`, `"text":"letter\n"`, `"status":126`, `"msg":"login refused"`} {
			if !strings.Contains(string(kept), text) {
				return fmt.Errorf("the log has not kept %s", text)
			}
		}
		if strings.Contains(string(kept), "sesame") {
			return errors.New("the log has kept a password")
		}
		_, err = fmt.Fprintf(env.Stdout, "the log has %d lines, and no password\n", strings.Count(string(kept), "\n"))
		return err
	}
}
