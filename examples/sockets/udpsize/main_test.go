package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) {
	clitest.Conventions(t, []string{"server"}, []string{"server", "-buffer", "1"})
}

var messages = []string{
	"hola",
	"",
	"¡Hola, Zócalo!",
	"two lines\r\nare one message\n",
	"\x00\xff\x1b[2J\x07",
	strings.Repeat("0123456789", 800),
}

func TestSizes(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			clitest.NeedHost(t, host)
			srv := clitest.Start(t, "server", "-host", host, "-port", "0")
			for _, message := range messages {
				got := clitest.Run(t, message, "client", "-host", host, "-port", srv.Port())
				require.Equal(t, cli.OK, got.Status, got.Stderr)
				own, _, _ := strings.Cut(strings.TrimPrefix(got.Stdout, "from "), " to ")
				require.Equal(t, fmt.Sprintf("from %s to %s\nsent %d bytes, the server received %[3]d\n", own, srv.Addr, len(message)), got.Stdout)
				srv.Stdout.WaitFor(t, fmt.Sprintf("\n%s sent %q (%d bytes)\n", own, message, len(message)))
			}
			got := clitest.Run(t, "not this", "client", "-host", host, "-port", srv.Port(), "-text", "this")
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			srv.Stdout.WaitFor(t, ` sent "this" (4 bytes)`)
		})
	}
}

// The longest message of all, and one byte more, which cannot be sent.
func TestLongest(t *testing.T) {
	for host, most := range map[string]int{"127.0.0.1": most4, "::1": most6} {
		t.Run(host, func(t *testing.T) {
			clitest.NeedHost(t, host)
			srv := clitest.Start(t, "server", "-host", host, "-port", "0")
			got := clitest.Run(t, strings.Repeat("x", most+1), "client", "-host", host, "-port", srv.Port())
			require.Equal(t, cli.Failure, got.Status)
			require.Equal(t, fmt.Sprintf("udpsize: the message is longer than the %d bytes that a UDP datagram can carry to %s\n", most, srv.Addr), got.Stderr)
			got = clitest.Run(t, strings.Repeat("x", most), "client", "-host", host, "-port", srv.Port())
			if got.Status != cli.OK && strings.Contains(got.Stderr, "too long") {
				t.Skipf("this system sends no datagrams of %d bytes: %s", most, got.Stderr) // macOS: 9216 unless told otherwise
			}
			require.Equal(t, cli.OK, got.Status, got.Stderr)
			require.Contains(t, got.Stdout, fmt.Sprintf("sent %d bytes, the server received %[1]d\n", most))
		})
	}
}

// What is longer than the server's buffer loses its end, and the answer is
// what shows it. The next message is whole again.
func TestShortBuffer(t *testing.T) {
	srv := clitest.Start(t, "server", "-port", "0", "-buffer", "10")
	for message, want := range map[string]int{"": 0, "012345678": 9, "0123456789": 10, "0123456789a": 10, strings.Repeat("0123456789", 100): 10} {
		got := clitest.Run(t, message, "client", "-port", srv.Port())
		require.True(t, strings.HasSuffix(got.Stdout, fmt.Sprintf("\nsent %d bytes, the server received %d\n", len(message), want)), got.Stdout)
		if want == len(message) {
			require.Equal(t, cli.OK, got.Status, got.Stderr)
		} else {
			require.Equal(t, cli.Failure, got.Status)
			require.Equal(t, fmt.Sprintf("udpsize: the last %d bytes are lost: the server's buffer is too short\n", len(message)-want), got.Stderr)
		}
		srv.Stdout.WaitFor(t, fmt.Sprintf(" sent %q (%d bytes)\n", message[:want], want))
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int{"0": 0, "7": 7, "65507": 65507, "65535": 65535} {
		got, ok := parseSize(text)
		require.True(t, ok, text)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", " 7", "7\n", "+7", "-7", "007", "65536", "7 bytes", "٧", "1e3", strings.Repeat("9", 64)} {
		_, ok := parseSize(text)
		require.False(t, ok, "%q", text)
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("0")
	f.Add("65507")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		if n, ok := parseSize(text); ok {
			require.Equal(t, text, strconv.Itoa(n))
			require.LessOrEqual(t, n, 65535)
		}
	})
}

// A server that lies or babbles is not believed.
func TestStrangeAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"4":                     "",
		"5":                     `answers "5" to 4 bytes`,
		"":                      `answers "" to 4 bytes`,
		"-1":                    `answers "-1" to 4 bytes`,
		"\x1b[2J":               `answers "\x1b[2J" to 4 bytes`,
		"3":                     "the last 1 bytes are lost",
		strings.Repeat("4", 99): `answers "44444444444444444`,
	} {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		var wg sync.WaitGroup
		wg.Go(func() {
			conn.SetReadDeadline(time.Now().Add(clitest.Limit))
			if _, client, err := conn.ReadFrom(make([]byte, 100)); err == nil {
				conn.WriteTo([]byte(answer), client)
			}
		})
		_, port, err := net.SplitHostPort(conn.LocalAddr().String())
		require.NoError(t, err)
		got := clitest.Run(t, "", "client", "-port", port, "-text", "hola")
		if want == "" {
			require.Equal(t, cli.OK, got.Status, got.Stderr)
		} else {
			require.Equal(t, cli.Failure, got.Status)
			require.Contains(t, got.Stderr, want)
			require.Equal(t, 1, strings.Count(got.Stderr, "\n"), got.Stderr)
		}
		wg.Wait()
		conn.Close()
	}
}

func TestFailures(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := conn.LocalAddr().String()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	got := clitest.Run(t, "hola", "client", "-port", port, "-timeout", "50ms")
	require.Equal(t, cli.Failure, got.Status)
	require.Equal(t, "udpsize: no answer from "+addr+" within 50ms: the message or the answer got lost, UDP does not say which\n", got.Stderr)
	conn.Close()
	got = clitest.Run(t, "hola", "client", "-port", port)
	require.Equal(t, cli.Failure, got.Status)
	require.Regexp(t, `^udpsize: cannot (read from|send to) 127\.0\.0\.1:`+port+` over udp: (refused: no program listens there|reset: .*)\n$`, got.Stderr)

	for _, args := range [][]string{
		{"client", "-port", "0"},
		{"client", "-timeout", "0s"},
		{"client", "hola"},
		{"server", "-buffer", "0"},
		{"server", "-buffer", "65536"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, cli.BadUsage, got.Status, "%v", args)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%v: %s", args, got.Stderr)
	}
}

// Ctrl-C ends a client whose standard input does not end.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals between processes")
	}
	srv := clitest.Start(t, "server", "-port", "0")
	cmd := clitest.Command(t, "client", "-port", srv.Port())
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer in.Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n') // it runs, and reads
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.Error(t, cmd.Wait())
	require.Equal(t, cli.Interrupted, cmd.ProcessState.ExitCode())
	require.Equal(t, "udpsize: interrupted\n", errs.String())
}

// The README shows the programs in Python as they are tested.
func TestReadmeShowsPython(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, file := range []string{"server.py", "client.py"} {
		program, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(t, err)
		require.Contains(t, string(readme), "```python\n"+string(program)+"```\n", file)
	}
}

// A language is a way to start the server and the client of a pair.
type language struct {
	name           string
	server, client func(t *testing.T, port string) *exec.Cmd
}

func languages(t *testing.T) []language {
	python := func(file string) func(*testing.T, string) *exec.Cmd {
		return func(t *testing.T, port string) *exec.Cmd {
			return exec.CommandContext(t.Context(), interop.Python(t), filepath.Join("testdata", file), port)
		}
	}
	bin := t.TempDir()
	compiled := func(name string) func(*testing.T, string) *exec.Cmd {
		return func(t *testing.T, port string) *exec.Cmd {
			if runtime.GOOS == "windows" {
				t.Skip("the programs in C use the sockets of Unix")
			}
			exe := filepath.Join(bin, name)
			if _, err := os.Stat(exe); err != nil {
				compiler := interop.Program(t, "gcc", "gcc", "cc")
				out, err := exec.CommandContext(t.Context(), compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2",
					"-o", exe, filepath.Join("testdata", name+".c")).CombinedOutput()
				require.NoError(t, err, "%s", out)
				require.Empty(t, string(out), "the compiler's warnings")
			}
			return exec.CommandContext(t.Context(), exe, port)
		}
	}
	return []language{
		{
			"Go",
			func(t *testing.T, port string) *exec.Cmd { return clitest.Command(t, "server", "-port", port) },
			func(t *testing.T, port string) *exec.Cmd { return clitest.Command(t, "client", "-port", port) },
		},
		{"Python", python("server.py"), python("client.py")},
		{"C", compiled("server"), compiled("client")},
	}
}

// Every client with every server: the agreement is in the datagrams, not in
// the language.
func TestLanguages(t *testing.T) {
	all := languages(t)
	for _, s := range all {
		for _, c := range all {
			t.Run(c.name+" to "+s.name, func(t *testing.T) {
				server := s.server(t, "0")
				pipe, err := server.StdoutPipe()
				require.NoError(t, err)
				require.NoError(t, server.Start())
				// Read while the clients wait: a server whose output is not
				// read stops at the first message longer than the pipe.
				lines := make(chan string, 1+1+len(messages))
				go func() {
					defer close(lines)
					in := bufio.NewReader(pipe)
					for {
						line, err := in.ReadString('\n')
						if err != nil {
							return
						}
						lines <- line // there is room for all
					}
				}()
				t.Cleanup(func() {
					server.Process.Kill()
					for range lines { // to the end, before Wait closes the pipe
					}
					server.Wait()
				})
				first := <-lines
				addr, ok := cli.ListeningAddr(first)
				require.True(t, ok, first)
				_, port, err := net.SplitHostPort(addr)
				require.NoError(t, err)
				for _, message := range append([]string{strings.Repeat("x", most4)}, messages...) {
					client := c.client(t, port)
					client.Stdin = strings.NewReader(message)
					out, err := client.CombinedOutput()
					if len(message) == most4 && strings.Contains(strings.ToLower(string(out)), "too long") {
						continue // macOS sends no more than 9216 unless told otherwise
					}
					require.NoError(t, err, "%s", out)
					require.True(t, strings.HasSuffix(string(out), fmt.Sprintf("sent %d bytes, the server received %[1]d\n", len(message))), "%s", out)
					require.Contains(t, <-lines, "127.0.0.1")
				}
			})
		}
	}
}
