package mapreduce

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// programEnv tells the test binary which streaming program to be.
const programEnv = "MAPREDUCE_TEST_PROGRAM"

// orphanLimit ends a program whose test was killed before it could clean up.
const orphanLimit = time.Minute

func TestMain(m *testing.M) {
	name := os.Getenv(programEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(orphanLimit, func() { os.Exit(99) })
	streamingPrograms[name](bufio.NewScanner(os.Stdin))
}

// streamingPrograms are programs as others write them for Hadoop Streaming.
var streamingPrograms = map[string]func(in *bufio.Scanner){
	"fields": func(in *bufio.Scanner) {
		for in.Scan() {
			for field := range strings.FieldsSeq(in.Text()) {
				fmt.Println(field + "\t1")
			}
			fmt.Fprintln(os.Stderr, "reporter:counter:lines,all,1")
		}
	},
	"sum": func(in *bufio.Scanner) {
		last, sum := "", 0
		flush := func() {
			if sum > 0 {
				fmt.Printf("%s\t%d\n", last, sum)
			}
		}
		for in.Scan() {
			key, value, _ := strings.Cut(in.Text(), "\t")
			if key != last {
				flush()
				last, sum = key, 0
			}
			var n int
			fmt.Sscan(value, &n)
			sum += n
		}
		flush()
	},
	"environment": func(in *bufio.Scanner) {
		in.Scan()
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "mapreduce_") || strings.HasPrefix(v, "MINE=") {
				fmt.Println(strings.Replace(v, "=", "\t", 1))
			}
		}
		for in.Scan() {
		}
	},
	"first": func(in *bufio.Scanner) {
		in.Scan()
		fmt.Println(in.Text())
	},
	"reports": func(in *bufio.Scanner) {
		for in.Scan() {
		}
		fmt.Fprint(os.Stderr, "reporter:counter:g,n,2\nreporter:counter:g,n,-1\r\nreporter:counter:g,n\nreporter:counter:g,n,x\nreporter:status:half way\nreporter:nothing\n")
	},
	"fails": func(in *bufio.Scanner) {
		in.Scan()
		fmt.Fprintf(os.Stderr, "%s\nno luck with %s\n", strings.Repeat("x", 3*maxReport), in.Text())
		os.Exit(3)
	},
	"hangs": func(*bufio.Scanner) {
		fmt.Println("I hang")
		select {} // no deadlock to the runtime, since orphanLimit's timer waits too
	},
	"endless": func(*bufio.Scanner) {
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				os.Exit(1)
			}
		}
	},
	"counters": func(in *bufio.Scanner) {
		for i := range 2 * maxCounters {
			fmt.Fprintf(os.Stderr, "reporter:counter:g,%d,1\n", i)
		}
		for in.Scan() {
		}
	},
	"backwards": func(in *bufio.Scanner) {
		var lines []string
		for in.Scan() {
			lines = append(lines, in.Text())
		}
		for _, line := range slices.Backward(lines) {
			fmt.Println(line)
		}
	},
}

// ourself returns this binary as a command, and the variables that make it the
// streaming program of that name.
func ourself(t *testing.T, name string) (command, env []string) {
	t.Helper()
	require.Contains(t, streamingPrograms, name)
	exe, err := os.Executable()
	require.NoError(t, err)
	return []string{exe}, []string{programEnv + "=" + name, "GORACE=atexit_sleep_ms=0"}
}

// runStream runs the job and returns its output.
func runStream(ctx context.Context, l *Local, s *Stream, in Input) (string, Counters, error) {
	var out bytes.Buffer
	counters, err := l.Run(ctx, s, in, Writer(&out))
	return out.String(), counters, err
}

const streamText = "en un lugar\nde la mancha\n\nun lugar\n"

func TestStreamMapper(t *testing.T) {
	command, env := ourself(t, "fields")
	for _, l := range []*Local{{Workers: 1}, {Splits: 3, Reducers: 3}} {
		s := &Stream{Name: "fields", Mapper: command, Env: env}
		got, counters, err := runStream(t.Context(), l, s, Reader("in", strings.NewReader(streamText)))
		require.NoError(t, err)
		require.Equal(t, "de\t1\nen\t1\nla\t1\nlugar\t1\nlugar\t1\nmancha\t1\nun\t1\nun\t1\n", got)
		require.Equal(t, int64(4), counters["lines.all"])
	}
}

func TestStreamReducer(t *testing.T) {
	command, env := ourself(t, "sum")
	for reducers := range 4 {
		s := &Stream{Name: "sum", Reducer: command, Env: env}
		got, _, err := runStream(t.Context(), &Local{Reducers: reducers}, s, Reader("in", strings.NewReader("b\t2\na\t1\nc\na\t40\nb\t1\n")))
		require.NoError(t, err)
		require.Equal(t, "a\t41\nb\t3\n", got, "whatever the number of reducers")
	}
}

// Without programs the job is Hadoop's identity: lines sorted by key, each with
// a tab.
func TestStreamIdentity(t *testing.T) {
	got, _, err := runStream(t.Context(), &Local{Reducers: 2}, &Stream{}, Reader("in", strings.NewReader("b\t2\tx\n\na\nb\t1")))
	require.NoError(t, err)
	require.Equal(t, "\t\na\t\nb\t2\tx\nb\t1\n", got)
}

// A mapper is started anew for each file, and is told which.
func TestStreamEnvironment(t *testing.T) {
	command, env := ourself(t, "environment")
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		require.NoError(t, os.WriteFile(dir+"/"+name, []byte("x\ny\n"), 0o600))
	}
	s := &Stream{Name: "env", Mapper: command, Reducer: command, Env: append(env, "MINE=1")}
	first := *s
	first.Reducer = nil
	got, _, err := runStream(t.Context(), &Local{Splits: 1, Reducers: 2}, &first, Files(dir))
	require.NoError(t, err)
	for _, want := range []string{
		"MINE\t1\n", "mapreduce_map_input_file\ta\n", "mapreduce_map_input_file\tb\n", "mapreduce_map_input_start\t0\n",
		"mapreduce_job_name\tenv\n", "mapreduce_job_reduces\t2\n", "mapreduce_task_ismap\ttrue\n", "mapreduce_task_partition\t0\n",
		"mapreduce_task_id\ttask_local_0001_m_000000\n", "mapreduce_task_attempt_id\tattempt_local_0001_m_000000_0\n",
	} {
		require.Contains(t, got, want)
	}
	require.Equal(t, 2, strings.Count(got, "MINE\t1\n"), "one process for each file")

	s.Mapper = nil
	got, _, err = runStream(t.Context(), &Local{Reducers: 1}, s, Files(dir))
	require.NoError(t, err)
	require.Contains(t, got, "mapreduce_task_ismap\tfalse\n")
	require.Contains(t, got, "mapreduce_task_id\ttask_local_0001_r_000000\n")
	require.NotContains(t, got, "input_file")
}

// A program that has read enough is no failure, as in a pipe to "head".
func TestStreamReadsNotAll(t *testing.T) {
	command, env := ourself(t, "first")
	in := strings.Repeat("line\n", 1_000_000) // more than any pipe holds
	s := &Stream{Name: "first", Mapper: command, Env: env}
	got, _, err := runStream(t.Context(), &Local{Splits: 1}, s, Reader("in", strings.NewReader(in)))
	require.NoError(t, err)
	require.Equal(t, "line\t\n", got)
}

func TestStreamReports(t *testing.T) {
	command, env := ourself(t, "reports")
	var told []string
	l := &Local{Workers: 1, Trace: &Trace{Status: func(kind Kind, task int, text string) {
		told = append(told, fmt.Sprint(kind, task, text))
	}}}
	_, counters, err := runStream(t.Context(), l, &Stream{Name: "r", Mapper: command, Env: env}, Reader("in", strings.NewReader("x\n")))
	require.NoError(t, err)
	require.Equal(t, Counters{"g.n": 1}, counters)
	require.Equal(t, []string{"map0half way"}, told)
}

// What goes wrong with a program ends the job with words that say what.
func TestStreamFails(t *testing.T) {
	for name, want := range map[string][]string{
		"fails":    {"exit status 3", "no luck with x"},
		"endless":  {"mapreduce: too long", "more than 1000000 bytes"},
		"counters": {"more than 1000 counters"},
	} {
		t.Run(name, func(t *testing.T) {
			command, env := ourself(t, name)
			for _, s := range []*Stream{{Mapper: command}, {Reducer: command}} {
				s.Name, s.Env, s.MaxRecord = name, env, 1_000_000
				_, _, err := runStream(t.Context(), &Local{Reducers: 1}, s, Reader("in", strings.NewReader("x\n")))
				for _, text := range want {
					require.ErrorContains(t, err, text)
				}
				require.Less(t, len(err.Error()), 2000)
			}
		})
	}
	_, _, err := runStream(t.Context(), &Local{}, &Stream{Mapper: []string{"no-such-program-here"}}, Reader("in", strings.NewReader("x\n")))
	require.ErrorContains(t, err, "no-such-program-here")
	_, _, err = runStream(t.Context(), &Local{}, &Stream{Reducer: []string{"no-such-program-here"}}, Reader("in", strings.NewReader("x\n")))
	require.ErrorContains(t, err, "no-such-program-here")
	_, _, err = runStream(t.Context(), &Local{}, &Stream{MaxRecord: -1}, Reader("in", strings.NewReader("x\n")))
	require.ErrorContains(t, err, "MaxRecord")
}

// A program that does not stop by itself is killed with its task.
func TestStreamIsKilled(t *testing.T) {
	command, env := ourself(t, "hangs")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	enough := errors.New("enough")
	p, err := startProcess(ctx, command, env, 100, func(line []byte) error {
		require.Equal(t, "I hang", string(line))
		cancel(enough)
		return nil
	})
	require.NoError(t, err)
	for range 100_000 { // more than a pipe holds
		p.write([]byte("x\n"))
	}
	require.ErrorIs(t, p.close(), enough)
}

// A reducer whose lines are out of order: each reducer's stay as they came.
func TestStreamOutOfOrder(t *testing.T) {
	command, env := ourself(t, "backwards")
	s := &Stream{Name: "backwards", Reducer: command, Env: env}
	got, _, err := runStream(t.Context(), &Local{Reducers: 1}, s, Reader("in", strings.NewReader("b\na\nc\n")))
	require.NoError(t, err)
	require.Equal(t, "c\t\nb\t\na\t\n", got)
}

// Programs of other languages, as a course on Hadoop has them.
func TestStreamOthers(t *testing.T) {
	const pythonMap = `import sys
for line in sys.stdin:
    for word in line.split():
        print(word + "\t1")
    sys.stderr.write("reporter:counter:text,lines,1\n")
`
	const pythonReduce = `import sys, itertools
pairs = (line.rstrip("\n").split("\t") for line in sys.stdin)
for word, group in itertools.groupby(pairs, key=lambda p: p[0]):
    print("%s\t%d" % (word, sum(int(n) for _, n in group)))
`
	const awkMap = `{ for (i = 1; i <= NF; i++) print $i "\t1" }`
	const awkReduce = `BEGIN { FS = "\t" } $1 != last { if (NR > 1) print last "\t" sum; last = $1; sum = 0 } { sum += $2 } END { if (NR) print last "\t" sum }`
	want := map[string]int{}
	for field := range strings.FieldsSeq(streamText) {
		want[field]++
	}
	var lines []string
	for _, field := range slices.Sorted(maps.Keys(want)) {
		lines = append(lines, fmt.Sprintf("%s\t%d\n", field, want[field]))
	}
	for name, s := range map[string]func(t *testing.T) *Stream{
		"python": func(t *testing.T) *Stream {
			python := interop.Python(t)
			return &Stream{Mapper: []string{python, "-c", pythonMap}, Reducer: []string{python, "-c", pythonReduce}}
		},
		"awk": func(t *testing.T) *Stream {
			awk := interop.Program(t, "mawk", "mawk", "awk")
			return &Stream{Mapper: []string{awk, awkMap}, Reducer: []string{awk, awkReduce}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, _, err := runStream(t.Context(), &Local{Splits: 2, Reducers: 2}, s(t), Reader("in", strings.NewReader(streamText)))
			require.NoError(t, err)
			require.Equal(t, strings.Join(lines, ""), got)
		})
	}
}
