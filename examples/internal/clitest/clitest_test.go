package clitest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// faultEnv names what the program of this test does wrong.
const faultEnv = "ZOCALO_PLANTED_FAULT"

func TestMain(m *testing.M) { Main(m, program) }

// program keeps the conventions, but for the planted fault.
func program(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fault := os.Getenv(faultEnv)
	p := cli.Program{
		Name: "fake", Summary: "Does nothing.", Example: "fake demo",
		Commands: []cli.Command{
			{Name: "server", Summary: "waits", Setup: func(fs *flag.FlagSet) cli.Action {
				addr := cli.AddrFlags(fs, 0)
				return func(ctx context.Context, env *cli.Env) error {
					if addr.Host != "127.0.0.1" {
						return fmt.Errorf("cannot listen on %s", map[bool]string{true: "that", false: addr.Host}[fault == "address not named"])
					}
					switch fault {
					case "silent server":
						return nil
					case "talks before it listens":
						fmt.Fprintln(env.Stdout, "hello")
					}
					port := 40123
					if fault == "port 0" {
						port = 0
					}
					fmt.Fprintf(env.Stdout, "listening on %s:%d\n", addr.Host, port)
					<-ctx.Done()
					if fault == "stops with an error" {
						return context.Cause(ctx)
					}
					if fault == "stops with words" {
						fmt.Fprintln(env.Stderr, "bye")
					}
					return nil
				}
			}},
			{Name: "demo", Summary: "shows", Setup: func(fs *flag.FlagSet) cli.Action {
				return func(_ context.Context, env *cli.Env) error {
					switch fault {
					case "demo fails":
						return fmt.Errorf("no")
					case "demo complains":
						fmt.Fprintln(env.Stderr, "hm")
					case "demo shows nothing":
						return nil
					}
					fmt.Fprintln(env.Stdout, "look")
					return nil
				}
			}},
		},
	}
	switch fault {
	case "no demo":
		p.Commands = p.Commands[:1]
	case "no example":
		p.Example = ""
	case "two lines":
		stderr = doubled{stderr}
	}
	status := p.Run(ctx, args, stdin, stdout, stderr)
	if fault == "wrong status" && status == cli.BadUsage {
		status = cli.Failure
	}
	if fault == "help fails" && len(args) > 0 && args[len(args)-1] == "-h" {
		status = cli.BadUsage
	}
	return status
}

type doubled struct{ w io.Writer }

func (d doubled) Write(p []byte) (int, error) { return d.w.Write(append(append([]byte{}, p...), p...)) }

// TestPlanted is what TestConventionsFindFaults runs in processes of its own.
func TestPlanted(t *testing.T) { Conventions(t, []string{"server"}) }

// The check of the conventions passes a program that keeps them, and fails for
// each fault with words that name it.
func TestConventionsFindFaults(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for fault, message := range map[string]string{
		"help fails":              "exit status of -h",
		"no example":              "Example:",
		"no demo":                 "every exercise has the command demo",
		"two lines":               "must be one line",
		"wrong status":            "exit status of",
		"demo fails":              "exit status of the demo",
		"demo complains":          "the demo's standard error",
		"demo shows nothing":      "the demo's transcript",
		"address not named":       "the failure names the address",
		"silent server":           "the program ended too early",
		"talks before it listens": "must be \"listening on ADDR\"",
		"port 0":                  "the port that the system chose",
		"stops with an error":     "after the signal terminated",
		"stops with words":        "standard error of",
	} {
		if strings.HasPrefix(fault, "stops") && runtime.GOOS == "windows" {
			continue // the check says itself that it is left out there
		}
		t.Run(fault, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestPlanted$")
			cmd.Env = append(os.Environ(), faultEnv+"="+fault)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the fault is not found: %s", out)
			require.Contains(t, string(out), message)
		})
	}
}

func TestRunAndStart(t *testing.T) {
	p := Start(t, "server", "-port", "0")
	require.Equal(t, "127.0.0.1:40123", p.Addr)
	require.Equal(t, "127.0.0.1", p.Host())
	require.Equal(t, "40123", p.Port())
	require.Zero(t, p.Stop())
	p.Signal(os.Kill) // of a program that has ended: nothing happens
	require.Equal(t, "listening on 127.0.0.1:40123\n", p.Stdout.String())

	got := Run(t, "", "demo")
	require.Equal(t, Result{0, "look\n", ""}, got)

	p = StartClient(t, "", "server")
	p.Stdout.WaitFor(t, "listening")
	p.Signal(os.Kill)
	if runtime.GOOS != "windows" {
		require.Equal(t, -1, p.Wait())
	}
}

func TestCommandsOf(t *testing.T) {
	require.Equal(t, []string{"server", "demo"}, commandsOf("Usage: x\n\nCommands:\n  server  does\n  demo    shows\n\nFlags of\n"))
	require.Empty(t, commandsOf("Usage: x\n"))
}
