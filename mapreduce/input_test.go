package mapreduce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// folder makes files with these contents in a new folder.
func folder(t testing.TB, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

// splitsOf cuts an input.
func splitsOf(t testing.TB, in Input, n int, p *program) ([]split, error) {
	t.Helper()
	sources, err := in.sources(t.Context(), "")
	if err != nil {
		return nil, err
	}
	return cut(sources, n, p.whole)
}

// records reads all records of splits.
func records(t testing.TB, splits []split, p *program) []Record {
	t.Helper()
	var all []Record
	for _, s := range splits {
		stream := s.open()
		defer stream.Close()
		in := newSplitReader(iotest.HalfReader(stream), p)
		for {
			var rec Record
			err := in.next(&rec)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			rec.Data = bytes.Clone(rec.Data)
			all = append(all, rec)
		}
		assert.Equal(t, s.size, in.done)
	}
	return all
}

func TestFiles(t *testing.T) {
	dir := folder(t, map[string]string{"b/x": "three\r\nfour", "a": "one\ntwo\n", "b/empty": "", "c": "\n\n"})
	for n := range 12 {
		splits, err := splitsOf(t, Files(dir, filepath.Join(dir, "a")), n, &program{maxRecord: 100})
		require.NoError(t, err)
		require.LessOrEqual(t, len(splits), max(n, 1))
		a := filepath.ToSlash(filepath.Join(dir, "a"))
		require.Equal(t, []Record{
			{"a", 0, 0, []byte("one")},
			{"a", 4, 4, []byte("two")},
			{"b/x", 0, 8, []byte("three\r")},
			{"b/x", 7, 15, []byte("four")},
			{"c", 0, 19, []byte("")},
			{"c", 1, 20, []byte("")},
			{a, 0, 21, []byte("one")},
			{a, 4, 25, []byte("two")},
		}, records(t, splits, &program{maxRecord: 100}), "%d splits", n)

		splits, err = splitsOf(t, Files(dir), n, &program{whole: true, maxRecord: 100})
		require.NoError(t, err)
		require.LessOrEqual(t, len(splits), max(n, 1))
		require.Equal(t, []Record{
			{"a", 0, 0, []byte("one\ntwo\n")},
			{"b/empty", 0, 8, []byte("")},
			{"b/x", 0, 8, []byte("three\r\nfour")},
			{"c", 0, 19, []byte("\n\n")},
		}, records(t, splits, &program{whole: true, maxRecord: 100}), "%d splits", n)
	}
}

func TestFilesByOtherNames(t *testing.T) {
	dir := folder(t, map[string]string{"in/a": "one\n", "in/b/c": "two\n"})
	t.Chdir(dir)
	names := func(in Input) (names []string) {
		splits, err := splitsOf(t, in, 1, &program{maxRecord: 100})
		require.NoError(t, err)
		for _, rec := range records(t, splits, &program{maxRecord: 100}) {
			names = append(names, rec.Source)
		}
		return names
	}
	assert.Equal(t, []string{"in/a", "in/b/c"}, names(Files(".")))
	if os.Symlink("in", "link") != nil {
		return // Windows may not allow it
	}
	require.NoError(t, os.Symlink(filepath.Join("in", "a"), "file"))
	assert.Equal(t, []string{"a", "b/c", "file"}, names(Files("link", "file")))
	assert.Equal(t, []string{"file", "in/a", "in/b/c"}, names(Files(".")), "a link to a folder is left out")
	_, err := splitsOf(t, Files(os.DevNull), 1, &program{})
	assert.ErrorContains(t, err, "not a regular file")
}

func TestSplitsAreOfAboutTheSameSize(t *testing.T) {
	dir := folder(t, map[string]string{"a": zipf(1000), "b": zipf(500), "c": "x\n"})
	for _, n := range []int{2, 3, 5, 8} {
		splits, err := splitsOf(t, Files(dir), n, &program{})
		require.NoError(t, err)
		require.Len(t, splits, n)
		all := int64(0)
		for _, s := range splits {
			all += s.size
		}
		for _, s := range splits {
			assert.InDelta(t, all/int64(n), s.size, 400) // a line or two
		}
	}
}

func TestLongRecords(t *testing.T) {
	long := strings.Repeat("x", 700<<10) // longer than the buffer of a splitReader
	for _, text := range []string{long, long + "\n", "a\n" + long + "\nb\n", "a\n" + long} {
		dir := folder(t, map[string]string{"f": text})
		for _, whole := range []bool{false, true} {
			p := &program{whole: whole, maxRecord: len(text)}
			splits, err := splitsOf(t, Files(dir), 3, p)
			require.NoError(t, err)
			want := []string{text}
			if !whole {
				want = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			}
			got := records(t, splits, p)
			require.Len(t, got, len(want))
			for i := range want {
				require.True(t, want[i] == string(got[i].Data))
			}
		}
		for _, most := range []int{1000, len(long) - 1} {
			_, err := (&Local{}).Run(t.Context(), &Job[[]byte, struct{}]{Map: sortLines().Map, Reduce: sortLines().Reduce, MaxRecord: most}, Files(dir), Writer(io.Discard))
			require.ErrorIs(t, err, ErrTooLong)
			require.ErrorContains(t, err, "f at byte")
		}
	}
}

func TestFileThatBecomesShorter(t *testing.T) {
	dir := folder(t, map[string]string{"f": "one\ntwo\nthree\n"})
	splits, err := splitsOf(t, Files(dir), 1, &program{maxRecord: 100})
	require.NoError(t, err)
	require.NoError(t, os.Truncate(filepath.Join(dir, "f"), 5))
	in := newSplitReader(splits[0].open(), &program{maxRecord: 100})
	for err == nil {
		err = in.next(&Record{})
	}
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// Wherever a text is cut, its records come out.
func FuzzSplit(f *testing.F) {
	f.Add("one\ntwo\nthree", "", 2, true)
	f.Add("\n\n\n", "a\n", 3, false)
	f.Fuzz(func(t *testing.T, a, b string, n int, whole bool) {
		p := &program{whole: whole, maxRecord: 1 << 20}
		splits, err := splitsOf(t, Files(folder(t, map[string]string{"a": a, "b": b})), n%50, p)
		require.NoError(t, err)
		var got, want []string
		for _, rec := range records(t, splits, p) {
			got = append(got, fmt.Sprintf("%s %d %q", rec.Source, rec.Offset, rec.Data))
		}
		for name, text := range map[string]string{"a": a, "b": b} {
			offset := 0
			for line := range strings.Lines(text) {
				if whole {
					break
				}
				want = append(want, fmt.Sprintf("%s %d %q", name, offset, strings.TrimSuffix(line, "\n")))
				offset += len(line)
			}
			if whole {
				want = append(want, fmt.Sprintf("%s 0 %q", name, text))
			}
		}
		require.ElementsMatch(t, want, got)
	})
}

// A split comes from the network, too: whatever it is, the end is an error, or
// records within the limits.
func FuzzSplitReader(f *testing.F) {
	f.Add([]byte("\x01a\x00\x00\x03a\nb"), false)
	f.Add([]byte("\x01a\x00\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01a"), true)
	f.Fuzz(func(t *testing.T, stream []byte, whole bool) {
		m := &mapTask{program: &program{maxRecord: 100, whole: whole}, emit: func(key, value []byte) error { return nil }}
		seen := 0
		m.program.newMapper = func(context.Context, *mapTask) (mapper, error) {
			return mapFunc(func(rec Record) error {
				if len(rec.Data) > 100 || len(rec.Source) > maxSource {
					return errors.New("too long")
				}
				seen += len(rec.Data)
				return nil
			}), nil
		}
		_, err := m.run(t.Context(), bytes.NewReader(stream))
		if isBad(err) || seen > len(stream) {
			t.Fatal(err, seen)
		}
	})
}

type mapFunc func(rec Record) error

func (f mapFunc) Map(rec Record) error { return f(rec) }
func (mapFunc) Close() error           { return nil }
