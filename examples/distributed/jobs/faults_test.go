//go:build unix

package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A farm is a master and its workers, each a process of its own. The master's
// events come on its standard output, where a test can wait for them.
type farm struct {
	t       *testing.T
	master  *clitest.Process
	workers []*clitest.Process
	out     string
	want    string // the output of the sequential run
}

// taskTimeout is the silence after which the master gives a worker up.
const taskTimeout = 2 * time.Second

// newFarm starts a master for a job of four splits and two reduce tasks.
func newFarm(t *testing.T, job, text string, flags ...string) *farm {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	in, out, plain := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(in, []byte(text), 0o666))
	run := clitest.Run(t, "", "run", "--job", job, "--in", in, "--out", plain)
	require.Zero(t, run.Status, run.Stderr)
	want, err := os.ReadFile(plain)
	require.NoError(t, err)
	require.NotEmpty(t, want)
	f := &farm{t: t, out: out, want: string(want)}
	f.master = clitest.Start(t, append([]string{
		"master", "--job", job, "--in", in, "--out", out, "--listen", "127.0.0.1:0", "--splits", "4", "--reducers", "2",
		"--task-timeout", taskTimeout.String(), "--events", "/dev/stdout",
	}, flags...)...)
	return f
}

// zipfText has n lines in which some words are frequent and most are not.
func zipfText(n int) string {
	dice := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(dice, 1.1, 5, 5000)
	var b strings.Builder
	for range n {
		for range 8 {
			fmt.Fprintf(&b, "%s ", strings.Repeat(string(rune('a'+zipf.Uint64()%26)), 1+int(zipf.Uint64()%7)))
		}
		b.WriteString("ñandú\n")
	}
	return b.String()
}

// worker starts a mapper or reducer.
func (f *farm) worker(kind, name string, slow time.Duration, flags ...string) *clitest.Process {
	return f.workerAt(f.master.Addr, kind, name, slow, flags...)
}

func (f *farm) workerAt(addr, kind, name string, slow time.Duration, flags ...string) *clitest.Process {
	flags = append([]string{kind, "--master", addr, "--name", name, "--slow", slow.String()}, flags...)
	p := clitest.StartClient(f.t, "", flags...)
	f.workers = append(f.workers, p)
	return p
}

// waitFor waits for an event, as in "done map 0 0 anna"; fields left away at the
// end may have any value.
func (f *farm) waitFor(event string) {
	f.t.Helper()
	f.master.Stdout.WaitFor(f.t, eventText(event))
}

func eventText(event string) string {
	text := "{"
	for i, v := range strings.Fields(event) {
		if i < 2 || i == 4 {
			v = `"` + v + `"`
		}
		text += fmt.Sprintf("%q:%s,", []string{"event", "kind", "task", "attempt", "worker"}[i], v)
	}
	if strings.Count(event, " ") == 4 {
		return strings.TrimSuffix(text, ",") + "}"
	}
	return text
}

// finish waits for the end of the job and checks that its output is that of the
// sequential run, that each task counted once, and that the workers leave.
func (f *farm) finish() {
	f.t.Helper()
	require.Zero(f.t, f.master.Wait(), "%s", f.master.Stderr)
	got, err := os.ReadFile(f.out)
	require.NoError(f.t, err)
	require.Equal(f.t, f.want, string(got))
	for kind, tasks := range map[string]int{"map": 4, "reduce": 2} {
		for task := range tasks {
			done := strings.Count(f.master.Stdout.String(), eventText(fmt.Sprintf("done %s %d", kind, task)))
			lost := strings.Count(f.master.Stdout.String(), eventText(fmt.Sprintf("failed %s %d", kind, task)))
			require.Positive(f.t, done)
			require.LessOrEqual(f.t, done, 1+lost, "%s %d counts once:\n%s", kind, task, f.master.Stdout)
		}
	}
	for _, p := range f.workers {
		if p.Wait() != -1 { // killed
			require.Zero(f.t, p.Wait(), "%s", p.Stderr)
		}
	}
	f.onlyOutput()
}

// onlyOutput checks that nothing half-done lies beside the output.
func (f *farm) onlyOutput() {
	f.t.Helper()
	files, err := os.ReadDir(filepath.Dir(f.out))
	require.NoError(f.t, err)
	for _, file := range files {
		require.Contains(f.t, []string{"in", "out", "plain"}, file.Name())
	}
}

func TestMapperKilledInItsTask(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	f.worker("reducer", "r", 0)
	m := f.worker("mapper", "m", time.Minute)
	f.waitFor("assign map 0 0 m")
	m.Signal(os.Kill)
	f.waitFor("failed map 0 0 m")
	f.worker("mapper", "n", 0)
	f.finish()
}

func TestMapperKilledAfterItsTask(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	m := f.worker("mapper", "m", 0)
	f.waitFor("done map 3")
	m.Signal(os.Kill)
	f.waitFor("failed map 3")
	f.worker("mapper", "n", 0)
	f.worker("reducer", "r", 0)
	f.finish()
	require.Regexp(t, `"done","kind":"map","task":0,"attempt":\d+,"worker":"n"`, f.master.Stdout.String())
}

func TestMapperKilledWhenReducersHaveBegun(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	m := f.worker("mapper", "m", 0)
	f.worker("reducer", "r", 200*time.Millisecond)
	f.waitFor("assign reduce 0 0 r")
	m.Signal(os.Kill)
	f.worker("mapper", "n", 0)
	f.finish()
}

func TestReducerKilled(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	f.worker("mapper", "m", 0)
	r := f.worker("reducer", "r", time.Minute)
	f.waitFor("assign reduce 0 0 r")
	r.Signal(os.Kill)
	f.waitFor("failed reduce 0 0 r")
	f.worker("reducer", "s", 0)
	f.finish()
}

// A worker that is stopped, not dead, comes back when others have done its task.
func TestStragglerStoppedAndContinued(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	m := f.worker("mapper", "m", 2*time.Second) // time enough to stop it
	f.waitFor("assign map 1 0 m")
	m.Signal(syscall.SIGSTOP)
	f.waitFor("failed map 1 0 m")
	f.worker("mapper", "n", 0)
	f.waitFor("done map 1 1 n")
	m.Signal(syscall.SIGCONT)
	f.waitFor("discard map 1 0 m")
	f.worker("reducer", "r", 0)
	f.finish()
}

// A slow worker keeps its task, but an idle one gets it too.
func TestStragglerIsBackedUp(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	f.worker("mapper", "m", time.Minute)
	f.waitFor("assign map 0 0 m")
	f.worker("mapper", "n", 0)
	f.worker("reducer", "r", 0)
	f.finish()
	require.Contains(t, f.master.Stdout.String(), eventText("assign map 0 1 n"))
	require.NotContains(t, f.master.Stdout.String(), eventText("failed map 0 0 m"))
}

func TestPartitionThatHeals(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	relay, err := simnet.RelayTCP("127.0.0.1:0", f.master.Addr, nil)
	require.NoError(t, err)
	defer relay.Close()
	f.workerAt(relay.Addr().String(), "mapper", "m", 2*time.Second, "--patience", "25s")
	f.waitFor("assign map 1 0 m")
	relay.SetLinks(simnet.Link{Down: true}, simnet.Link{Down: true})
	f.waitFor("failed map 0 0 m")
	f.worker("mapper", "n", 0)
	f.waitFor("done map 0 1 n")
	relay.SetLinks(simnet.Link{}, simnet.Link{})
	f.waitFor("discard map 1 0 m")
	f.worker("reducer", "r", 0)
	f.finish()
}

func TestLateWorkers(t *testing.T) {
	f := newFarm(t, "index", zipfText(500)) // one file is a folder of one
	f.worker("mapper", "m", 0)
	f.waitFor("done map 3")
	f.worker("reducer", "late", 0)
	f.finish()
}

// With replicas each split goes to several mappers and counts once.
func TestMapperKilledWithReplicas(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000), "--replicas", "2")
	m := f.worker("mapper", "m", 10*time.Millisecond)
	f.worker("mapper", "n", 10*time.Millisecond)
	f.waitFor("discard map 2")
	m.Signal(os.Kill) // its replica knows all the same
	f.worker("reducer", "r", 0)
	f.finish()
}

// Strangers on the master's port disturb nobody.
func TestHostilePeer(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	for _, wire := range []string{"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff", "\x00\x00\x00\x05\x00\xff\xff\xff\xff", ""} {
		c, err := net.Dial("tcp", f.master.Addr)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Write([]byte(wire))
		require.NoError(t, err)
	}
	f.worker("mapper", "m", 0)
	f.worker("reducer", "r", 0)
	f.finish()
}

// Without its master a job leaves nothing, and its workers leave by themselves.
func TestMasterKilled(t *testing.T) {
	f := newFarm(t, "wordcount", zipfText(2000))
	f.worker("mapper", "m", 0, "--patience", "3s")
	f.worker("reducer", "r", time.Minute, "--patience", "3s")
	f.waitFor("assign reduce 0 0 r")
	f.master.Signal(os.Kill)
	f.master.Wait()
	require.NoFileExists(t, f.out)
	for _, p := range f.workers {
		require.Equal(t, 1, p.Wait())
		require.Contains(t, p.Stderr.String(), "the master is gone")
	}
}

// A full disk is said in one line and leaves nothing, and the workers go home.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(in, []byte(zipfText(5000)), 0o666))
	for _, args := range [][]string{
		{"run", "--job", "sort", "--in", in, "--out", out},
		{"master", "--job", "sort", "--in", in, "--out", out},
	} {
		program := clitest.Command(t, args...)
		// No file of this process may grow past 64 KiB, or 128.
		cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", `ulimit -f 128; exec "$0" "$@"`, program.Path}, args...)...)
		cmd.Env, cmd.WaitDelay = program.Env, program.WaitDelay
		var stderr strings.Builder
		cmd.Stderr = &stderr
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var workers []*clitest.Process
		if args[0] == "master" {
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			addr, ok := cli.ListeningAddr(strings.TrimSpace(line))
			require.True(t, ok, line)
			for _, kind := range []string{"mapper", "reducer"} {
				workers = append(workers, clitest.StartClient(t, "", kind, "--master", addr, "--name", kind))
			}
		}
		_ = cmd.Wait()
		require.Equal(t, cli.Failure, cmd.ProcessState.ExitCode(), "%v: %s", args, &stderr)
		require.Contains(t, stderr.String(), "file too large")
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "%s", &stderr)
		for _, p := range workers {
			require.Zero(t, p.Wait(), "%s", p.Stderr)
		}
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1, "only the input")
	}
}
