package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/internal/interop"
)

// countingJob counts the fields of lines, and counts the empty lines.
func countingJob() *Job[string, int64] {
	return &Job[string, int64]{
		Name: "count, fields",
		Map: func(t *Task, rec Record, emit func(string, int64)) error {
			if len(rec.Data) == 0 {
				t.Count("empty lines", 1)
			}
			for field := range strings.FieldsSeq(string(rec.Data)) {
				if field == "panic" {
					panic("as told")
				}
				emit(field, 1)
			}
			t.Status("at\n" + rec.Source)
			return nil
		},
		Combine: func(a, b int64) int64 { return a + b },
		Reduce: func(_ *Task, field string, values iter.Seq[int64], w io.Writer) error {
			var sum int64
			for n := range values {
				sum += n
			}
			_, err := fmt.Fprintf(w, "%s\t%d\n", field, sum)
			return err
		},
	}
}

// step runs one step as under Hadoop.
func step(t *testing.T, f func(Hadoop, context.Context, Program) error, p Program, stdin string, env ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	h := Hadoop{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Getenv: func(name string) string {
		for _, v := range env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value
			}
		}
		return ""
	}}
	err = f(h, t.Context(), p)
	return out.String(), errs.String(), err
}

// sorted sorts lines as "LC_ALL=C sort" does.
func sorted(text string) string {
	return strings.Join(slices.Sorted(strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n")), "\n") + "\n"
}

func TestHadoopSteps(t *testing.T) {
	job := countingJob()
	pairs, stderr, err := step(t, Hadoop.Map, job, "uno dos uno\n\ntres\r\n\nuno", "mapreduce_map_input_file=hdfs://h/in/a.txt")
	require.NoError(t, err)
	require.Equal(t, "uno\t1\ndos\t1\nuno\t1\ntres\t1\nuno\t1\n", pairs)
	require.Equal(t, strings.Repeat("reporter:status:at a.txt\n", 5)+"reporter:counter:count_ fields,empty lines,2\n", stderr)

	combined, stderr, err := step(t, Hadoop.Combine, job, sorted(pairs))
	require.NoError(t, err)
	require.Equal(t, "dos\t1\ntres\t1\nuno\t3\n", combined)
	require.Empty(t, stderr)

	for _, in := range []string{sorted(pairs), combined, strings.TrimSuffix(combined, "\n")} {
		out, _, err := step(t, Hadoop.Reduce, job, in)
		require.NoError(t, err)
		require.Equal(t, "dos\t1\ntres\t1\nuno\t3\n", out)
	}
	job.Combine = nil
	same, _, err := step(t, Hadoop.Combine, job, sorted(pairs))
	require.NoError(t, err)
	require.Equal(t, sorted(pairs), same)
	for _, f := range []func(Hadoop, context.Context, Program) error{Hadoop.Map, Hadoop.Combine, Hadoop.Reduce} {
		out, _, err := step(t, f, job, "")
		require.NoError(t, err)
		require.Empty(t, out)
	}
}

// The three steps with the real sort between give what the engine gives.
func TestHadoopWithSort(t *testing.T) {
	sort := interop.Program(t, "coreutils", "sort")
	through := func(text string) string {
		cmd := exec.CommandContext(t.Context(), sort)
		cmd.Env = []string{"LC_ALL=C"}
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	// Keys with every byte that has a meaning, and values with some.
	job := &Job[string, string]{
		Name: "lines",
		Map: func(_ *Task, rec Record, emit func(string, string)) error {
			key := strings.ReplaceAll(string(rec.Data), "N", "\n")
			emit(key, "")
			emit(key, "v\t\b\n"+key)
			return nil
		},
		Reduce: func(_ *Task, key string, values iter.Seq[string], w io.Writer) error {
			_, err := fmt.Fprintf(w, "%q %q\n", key, slices.Sorted(values))
			return err
		},
	}
	in := "b\ta\na\na\x08\na\x05\naN\n\na\nb\nñ\n\xff\na\t\na\x0b\n"
	pairs, _, err := step(t, Hadoop.Map, job, in)
	require.NoError(t, err)
	combined, _, err := step(t, Hadoop.Combine, job, through(pairs))
	require.NoError(t, err)
	require.Equal(t, through(pairs), combined)
	out, _, err := step(t, Hadoop.Reduce, job, combined)
	require.NoError(t, err)
	var want bytes.Buffer
	_, err = (&Local{Splits: 3}).Run(t.Context(), job, Reader("in", strings.NewReader(in)), Writer(&want))
	require.NoError(t, err)
	require.Equal(t, sorted(want.String()), sorted(out))
}

func TestHadoopSource(t *testing.T) {
	job := &Job[string, int64]{
		Name: "places", WholeFiles: true,
		Map: func(_ *Task, rec Record, emit func(string, int64)) error {
			emit(fmt.Sprintf("%s %q", rec.Source, rec.Data), rec.Offset)
			return nil
		},
		Reduce: countingJob().Reduce,
	}
	for file, want := range map[string]string{
		"":                            ` "a\nb"`,
		"hdfs://h:8020/in/web/x.html": `web/x.html "a\nb"`,
		"file:/elsewhere/x.html":      `x.html "a\nb"`,
	} {
		got, _, err := step(t, Hadoop.Map, job, "a\nb", "mapreduce_map_input_file="+file,
			"mapreduce_input_fileinputformat_inputdir=hdfs://h:8020/other,hdfs://h:8020/in/", "mapreduce_map_input_start=7")
		require.NoError(t, err)
		require.Equal(t, want+"\t7\n", got)
	}
	job.MaxRecord = 2
	_, _, err := step(t, Hadoop.Map, job, "a\nb")
	require.ErrorIs(t, err, ErrTooLong)
}

func TestHadoopErrors(t *testing.T) {
	job := countingJob()
	job.MaxRecord = 10
	for _, test := range []struct {
		f     func(Hadoop, context.Context, Program) error
		stdin string
		want  string
	}{
		{Hadoop.Map, "a\npanic\n", "as told"},
		{Hadoop.Map, "12345678901\n", "more than 10 bytes"},
		{Hadoop.Map, strings.Repeat("x", 1<<20), "more than 10 bytes"},
		{Hadoop.Combine, "a\t1\na\tx\n", `"x" is no value of job count, fields`},
		{Hadoop.Combine, "a\t1\nb\t\n", `"" is no value of job count, fields`},
		{Hadoop.Reduce, "a\t1\na\t\n", `"" is no value of job count, fields`},
		{Hadoop.Reduce, "a\t1\na 2\n", `"" is no value`},
		{Hadoop.Reduce, "a\t12345678901\n", "more than 10 bytes"},
	} {
		_, _, err := step(t, test.f, job, test.stdin)
		require.ErrorContains(t, err, test.want)
	}
	_, _, err := step(t, Hadoop.Map, &Job[string, string]{}, "")
	require.ErrorContains(t, err, "needs Map and Reduce")
	torn := errors.New("torn")
	require.ErrorIs(t, Hadoop{Stdin: iotest.ErrReader(torn), Stderr: io.Discard}.Map(t.Context(), job), torn)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(torn)
	for _, f := range []func(Hadoop, context.Context, Program) error{Hadoop.Map, Hadoop.Reduce} {
		require.ErrorIs(t, f(Hadoop{Stdin: strings.NewReader("a\t1\n"), Stdout: io.Discard}, ctx, job), torn)
	}
	numbers := &Job[int, int]{Map: func(*Task, Record, func(int, int)) error { return nil }, Reduce: func(*Task, int, iter.Seq[int], io.Writer) error { return nil }}
	_, _, err = step(t, Hadoop.Reduce, numbers, "a\t1\n")
	require.ErrorContains(t, err, `"a" is no key`)
}

// Lines that are only keys are in the order of the keys, whatever bytes they have.
func TestHadoopOnlyKeys(t *testing.T) {
	job := &Job[string, struct{}]{
		Name: "sort",
		Map: func(_ *Task, rec Record, emit func(string, struct{})) error {
			emit(string(rec.Data), struct{}{})
			return nil
		},
		Reduce: func(_ *Task, key string, values iter.Seq[struct{}], w io.Writer) error {
			for range values {
				fmt.Fprintln(w, key)
			}
			return nil
		},
	}
	in := "a\x08\nb\na\t\na\na\x05\na\n\na\tb\na\x0b\n\x01\n"
	pairs, _, err := step(t, Hadoop.Map, job, in)
	require.NoError(t, err)
	out, _, err := step(t, Hadoop.Reduce, job, sorted(pairs))
	require.NoError(t, err)
	require.Equal(t, sorted(in), out)
}

// A reducer that does not want all values, or none, meets each key once.
func TestHadoopReduceLeavesEarly(t *testing.T) {
	job := countingJob()
	for _, want := range []int{0, 1} {
		job.Reduce = func(_ *Task, key string, values iter.Seq[int64], w io.Writer) error {
			n := 0
			if want > 0 {
				for range values {
					n++
					break
				}
			}
			_, err := fmt.Fprintln(w, key, n)
			return err
		}
		out, _, err := step(t, Hadoop.Reduce, job, "a\t1\na\t2\na\t3\nb\t1\n")
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("a %d\nb %[1]d\n", want), out)
	}
}

// textCase checks how a value looks as text, and that it comes back.
func textCase[T any](t *testing.T, v T, want string) {
	t.Helper()
	for _, key := range []bool{true, false} {
		c := coderOf[T](key)
		form := textOf(c)
		encoded, err := c.append(nil, v)
		require.NoError(t, err)
		text, err := form.format([]byte("x"), encoded)
		require.NoError(t, err)
		require.Equal(t, "x"+want, string(text))
		back, err := form.parse(nil, text[1:])
		require.NoError(t, err)
		require.True(t, bytes.Equal(encoded, back))
	}
}

func TestTextForms(t *testing.T) {
	type name string
	type level int8
	textCase(t, "a\tb", "a\tb")
	textCase(t, []byte("\xff"), "\xff")
	textCase(t, name("ana"), "ana")
	textCase(t, 42, "42")
	textCase(t, int64(math.MinInt64), "-9223372036854775808")
	textCase(t, uint64(math.MaxUint64), "18446744073709551615")
	textCase(t, level(-3), "-3")
	textCase(t, 0.1, "0.1")
	textCase(t, float32(0.1), "0.1")
	textCase(t, math.Inf(-1), "-Inf")
	textCase(t, true, "true")
	textCase(t, struct{}{}, "")
	textCase(t, map[string]int{"b": 1, "a": 2}, `{"a":2,"b":1}`)
	textCase(t, struct{ N, M int }{1, 2}, `{"N":1,"M":2}`)
	textCase(t, []string{"a\tb"}, `["a\tb"]`)
	for form, bad := range map[*textForm]string{
		new(textOf(coderOf[int8](true))):           "300",
		new(textOf(coderOf[uint](true))):           "-1",
		new(textOf(coderOf[float64](true))):        "x",
		new(textOf(coderOf[bool](true))):           "maybe",
		new(textOf(coderOf[map[string]int](true))): "{",
	} {
		_, err := form.parse(nil, []byte(bad))
		require.Error(t, err, bad)
	}
}

// Escaped keys have no byte that ends one, come back as they were, and sort
// as before.
func FuzzEscape(f *testing.F) {
	f.Add([]byte("a\tb"), []byte("a\nb"))
	f.Add([]byte("\x08\x01"), []byte("\x09"))
	f.Add([]byte("\x08"), []byte("\x08\x08"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ea, eb := appendEscaped(nil, a, inKeys), appendEscaped(nil, b, inKeys)
		require.False(t, bytes.ContainsAny(ea, "\t\n"))
		require.Equal(t, bytes.Compare(a, b), bytes.Compare(ea, eb))
		require.False(t, bytes.ContainsRune(appendEscaped(nil, a, inValues), '\n'))
		require.True(t, bytes.Equal(a, unescape(appendEscaped(nil, a, inValues))))
		require.True(t, bytes.Equal(a, unescape(ea)))
		unescape(a) // whatever others write
	})
}

// Whatever comes in, a reducer gets each line once or there is an error.
func FuzzHadoopReduce(f *testing.F) {
	f.Add([]byte("a\t1\na\t2\nb\t3\n"))
	f.Add([]byte("a\nb\t\t\n\n\x08\x02\t-1"))
	f.Fuzz(func(t *testing.T, in []byte) {
		job := countingJob()
		job.MaxRecord = 64
		var out bytes.Buffer
		err := Hadoop{Stdin: bytes.NewReader(in), Stdout: &out, Stderr: io.Discard}.Reduce(t.Context(), job)
		if err != nil {
			return
		}
		groups := 0
		last := []byte(nil)
		for i, line := range bytes.Split(bytes.TrimSuffix(in, []byte("\n")), []byte("\n")) {
			key, _, _ := bytes.Cut(line, []byte("\t"))
			if len(in) > 0 && (i == 0 || !bytes.Equal(key, last)) {
				groups++
			}
			last = key
		}
		require.GreaterOrEqual(t, bytes.Count(out.Bytes(), []byte("\n")), groups, "one line for each group")
	})
}

func TestLineWriter(t *testing.T) {
	for _, size := range []int{1, 2, 3, 100} {
		var lines []string
		w := &lineWriter{max: 4, take: func(line []byte) error { lines = append(lines, string(line)); return nil }}
		text := "uno\n\ndos\r\ntres\nfin"
		for chunk := range slices.Chunk([]byte(text), size) {
			n, err := w.Write(chunk)
			require.NoError(t, err)
			require.Equal(t, len(chunk), n)
		}
		require.NoError(t, w.flush())
		require.NoError(t, w.flush())
		require.Equal(t, []string{"uno", "", "dos\r", "tres", "fin"}, lines)

		_, err := w.Write([]byte("12345"))
		require.ErrorIs(t, err, ErrTooLong)
		lines = nil
		w = &lineWriter{max: 4, cut: true, take: w.take}
		for chunk := range slices.Chunk([]byte("123456789\nabcd\ne"), size) {
			_, err := w.Write(chunk)
			require.NoError(t, err)
		}
		require.NoError(t, w.flush())
		require.Equal(t, []string{"1234", "5678", "9", "abcd", "e"}, lines)
	}
}

func TestLineReader(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, text := range []string{"", "a", "a\n", "\n", "\n\n", "a\r\nb", long, long + "\n" + long + "\nb"} {
		r := newLineReader(iotest.HalfReader(strings.NewReader(text)), len(long))
		var got []string
		total := 0
		for {
			line, size, err := r.read()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			got = append(got, string(line))
			total += size
		}
		require.Equal(t, len(text), total)
		want := strings.SplitAfter(text, "\n")
		want = slices.DeleteFunc(want, func(s string) bool { return s == "" })
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], "\n")
		}
		require.Equal(t, want, append([]string{}, got...))
		if len(text) > len(long) {
			_, _, err := newLineReader(strings.NewReader(text), len(long)-1).read()
			require.ErrorIs(t, err, ErrTooLong)
		}
	}
}
