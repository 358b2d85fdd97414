package clitest

import (
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// Conventions checks, in subtests, what every exercise promises: -h and the -h
// of every command exit 0 and show usage and an example; a wrong command, flag
// or value is one line on standard error and status 2; demo exits 0; and each
// of servers, given as a command line to which "-port 0" is added, says where
// it listens, fails with status 1 and one line on an address that it cannot
// have, and ends with status 0 on SIGTERM and on Ctrl-C.
func Conventions(t *testing.T, servers ...[]string) {
	t.Helper()
	t.Run("help", func(t *testing.T) {
		got := Run(t, "", "-h")
		requireHelp(t, got, "-h")
		commands := commandsOf(got.Stdout)
		require.Contains(t, commands, "demo", "every exercise has the command demo")
		for _, command := range commands {
			requireHelp(t, Run(t, "", command, "-h"), command+" -h")
		}
	})
	t.Run("wrong usage", func(t *testing.T) {
		wrong := [][]string{
			{"-no-such-flag"},
			{"no-such-command"},
			{"demo", "-no-such-flag"},
			{"demo", "no-such-argument"},
		}
		for _, server := range servers {
			for _, flags := range [][]string{{"-no-such-flag"}, {"-port", "65536"}, {"-port", "-1"}, {"-port", "x"}, {"-host", ""}} {
				wrong = append(wrong, append(append([]string{}, server...), flags...))
			}
		}
		for _, args := range wrong {
			got := Run(t, "", args...)
			require.Equal(t, cli.BadUsage, got.Status, "exit status of %q", args)
			requireOneLine(t, got.Stderr, args)
			require.Empty(t, got.Stdout, "standard output of %q", args)
		}
	})
	t.Run("demo", func(t *testing.T) {
		got := Run(t, "", "demo")
		require.Equal(t, cli.OK, got.Status, "exit status of the demo; it said %s%s", got.Stdout, got.Stderr)
		require.NotEmpty(t, got.Stdout, "the demo's transcript")
		require.Empty(t, got.Stderr, "the demo's standard error")
	})
	for _, server := range servers {
		args := append(append([]string{}, server...), "-port", "0")
		t.Run(strings.Join(server, " "), func(t *testing.T) {
			// TEST-NET-1 (RFC 5737): no machine has such an address.
			away := append(append([]string{}, args...), "-host", "192.0.2.1")
			got := Run(t, "", away...)
			require.Equal(t, cli.Failure, got.Status, "exit status of %q", away)
			requireOneLine(t, got.Stderr, away)
			require.Contains(t, got.Stderr, "192.0.2.1", "the failure names the address")

			require.NotEqual(t, "0", Start(t, args...).Port(), "the port that the system chose")
			if runtime.GOOS == "windows" {
				t.Log("Windows has no signals between processes: the clean stop is not checked")
				return
			}
			for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
				p := Start(t, args...)
				p.Signal(sig)
				require.Equal(t, cli.OK, p.Wait(), "exit status of %q after the signal %v", args, sig)
				require.Empty(t, p.Stderr.String(), "standard error of %q after the signal %v", args, sig)
			}
		})
	}
}

func requireHelp(t *testing.T, got Result, what string) {
	t.Helper()
	require.Equal(t, cli.OK, got.Status, "exit status of %s", what)
	require.Contains(t, got.Stdout, "Usage: ", "%s", what)
	require.Contains(t, got.Stdout, "Example:\n", "%s", what)
	require.Empty(t, got.Stderr, "standard error of %s", what)
}

// requireOneLine fails unless text is one line that has an end.
func requireOneLine(t *testing.T, text string, args []string) {
	t.Helper()
	line, rest, ended := strings.Cut(text, "\n")
	require.True(t, ended && rest == "" && strings.TrimSpace(line) != "",
		"standard error of %q must be one line, not %q", args, text)
}

// commandsOf returns the names below "Commands:" in a program's help.
func commandsOf(help string) []string {
	_, list, _ := strings.Cut(help, "\nCommands:\n")
	var names []string
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			break
		}
		names = append(names, fields[0])
	}
	return names
}
