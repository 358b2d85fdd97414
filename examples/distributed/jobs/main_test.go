package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/zocalo-go/zocalo/examples/internal/clitest"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/examples/internal/words"
	"github.com/zocalo-go/zocalo/internal/interop"
)

func TestMain(m *testing.M) { clitest.Main(m, run) }

func TestConventions(t *testing.T) { clitest.Conventions(t) }

func TestWrongUsage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	text := filepath.Join("samples", "quijote.txt")
	for _, args := range [][]string{
		{"run"},
		{"run", "-job", "sort", "-in", text},
		{"run", "-job", "nonsense", "-in", text, "-out", out},
		{"run", "-job", "grep", "-in", text, "-out", out},
		{"run", "-job", "grep", "-pattern", "(", "-in", text, "-out", out},
		{"run", "-job", "sort", "-side", text, "-in", text, "-out", out},
		{"run", "-job", "programs", "-in", text, "-out", out},
		{"run", "-job", "assign", "-in", text, "-out", out},
		{"run", "-job", "kmeans", "-clusters", "0", "-in", text, "-out", out},
		{"run", "-job", "kmeans", "-clusters", "x", "-in", text, "-out", out},
		{"run", "-job", "align", "-rounds", "0", "-in", text, "-out", out},
		{"master", "-job", "sort", "-in", text, "-out", out, "-task-timeout", "1"},
		{"master", "-job", "sort", "-in", text, "-out", out, "-splits", "-1"},
		{"master", "-job", "sort", "-in", text, "-out", out, "-replicas", "0"},
		{"mapper"},
		{"mapper", "-master", "localhost"},
		{"reducer", "-master", "localhost:1060", "-slow", "1"},
		{"stream-map"},
		{"stream-reduce", "-job", "nonsense"},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 2, got.Status, "%q: %s", args, got.Stderr)
		require.Equal(t, 1, strings.Count(got.Stderr, "\n"), "%q: %s", args, got.Stderr)
		require.Empty(t, got.Stdout)
		require.NoFileExists(t, out)
	}
	for _, args := range [][]string{
		{"run", "-job", "sort", "-in", "no-such-file", "-out", out},
		{"master", "-job", "sort", "-in", "no-such-file", "-out", out},
		{"run", "-job", "sort", "-in", text, "-out", filepath.Join("no-such-folder", "out")},
		{"run", "-job", "classify", "-side", "no-such-file", "-in", text, "-out", out},
		{"run", "-job", "programs", "-mapper", "no-such-program", "-in", text, "-out", out},
	} {
		got := clitest.Run(t, "", args...)
		require.Equal(t, 1, got.Status, "%q: %s", args, got.Stderr)
		require.Contains(t, got.Stderr, "no-such-")
		require.NotContains(t, got.Stdout, "listening")
		require.NoFileExists(t, out)
	}
}

// runJob runs a job in one process and returns its output.
func runJob(t *testing.T, args ...string) (output, stderr string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	got := clitest.Run(t, "", append([]string{"run", "--out", out}, args...)...)
	require.Zero(t, got.Status, got.Stderr)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	return string(text), got.Stderr
}

// file writes a file for one test.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestWordcount(t *testing.T) {
	got, _ := runJob(t, "--job", "wordcount", "--in", file(t, "Uno dos_UNO\xffé É\ne\u0301 ñ10ñ\r\n"))
	require.Equal(t, "dos\t1\ne\t1\nuno\t2\né\t2\nñ\t2\n", got)
	got, _ = runJob(t, "--job", "wordcount", "--in", file(t, ""))
	require.Empty(t, got)
}

// A tree of several levels counts what one level counts.
func TestTree(t *testing.T) {
	want, _ := runJob(t, "--job", "wordcount", "--in", "samples")
	got, _ := runJob(t, "--job", "tree", "--in", "samples")
	require.NotEmpty(t, got)
	require.Equal(t, want, got)
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"b.txt": "Uno dos\nuno", "a.txt": "dos", "a/b.txt": "dos tres", "empty": ""} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	got, _ := runJob(t, "--job", "index", "--in", dir)
	require.Equal(t, "dos\ta.txt,a/b.txt,b.txt\ntres\ta/b.txt\nuno\tb.txt\n", got)
}

// Joining lists of files must not depend on which are joined first.
func TestJoinFiles(t *testing.T) {
	lists := []string{"a", "a\tb", "b", "b\ta", "ab", "c"}
	join := func(a, b string) string { return string(joinFiles([]byte(a), []byte(b))) }
	for _, a := range lists {
		for _, b := range lists {
			for _, c := range lists {
				require.Equal(t, join(join(a, b), c), join(a, join(b, c)))
			}
		}
	}
	require.Equal(t, "a\tb\tc", join("a\tb", "b\tc"))
	require.Equal(t, "ab\tb", join("ab", "b"))
}

func TestSortAndGrep(t *testing.T) {
	in := file(t, "b\na\x05\na\ta\na\n\nb\r\nb\nlast")
	got, _ := runJob(t, "--job", "sort", "--in", in)
	require.Equal(t, "\na\na\x05\na\ta\nb\nb\nb\r\nlast\n", got)
	got, _ = runJob(t, "--job", "grep", "--pattern", "^[^a]", "--in", in)
	require.Equal(t, "b\nb\r\nb\nlast\n", got)
	got, _ = runJob(t, "--job", "grep", "--pattern", "", "--in", in)
	require.Equal(t, "b\na\x05\na\ta\na\n\nb\r\nb\nlast\n", got, "the empty pattern is in every line")
}

func TestPoison(t *testing.T) {
	got, stderr := runJob(t, "--job", "poison", "--in", file(t, "uno\nuno ☠ dos\ndos\n☠\n"))
	require.Equal(t, "dos\t1\nuno\t1\n", got)
	require.Equal(t, "counter skipped_records 2\n", stderr)

	got, stderr = runJob(t, "--job", "poison", "--in", file(t, "uno\n"+strings.Repeat("☠\n", 1000)))
	require.Equal(t, "uno\t1\n", got)
	require.Equal(t, "counter skipped_records 1000\n", stderr, "however many they are")
}

func TestLinks(t *testing.T) {
	got, _ := runJob(t, "--job", "links", "--in", filepath.Join("samples", "web"))
	require.Contains(t, got, "http://www.example.com/\thttp://books.example.net/quijote.html http://www.example.com/noticias.html\n")
	require.Contains(t, got, "http://sea.example.org/\thttp://sea.example.org/mareas.html http://www.example.com/\n")
	require.NotContains(t, got, "mailto")
	require.NotContains(t, got, "#")
}

func TestHosts(t *testing.T) {
	got, _ := runJob(t, "--job", "hosts", "--in", filepath.Join("samples", "web"))
	require.True(t, strings.HasPrefix(got, "books.example.net\tlibro 2 caminos 1 "), got)
	require.Contains(t, got, "\nwww.example.com\tnoticias 4 ", "what is in the script does not count")
	for line := range strings.Lines(got) {
		require.Len(t, strings.Fields(line), 1+2*min(hostTerms, (len(strings.Fields(line))-1)/2))
	}
}

func TestAccessLog(t *testing.T) {
	got, stderr := runJob(t, "--job", "accesslog", "--in", filepath.Join("samples", "access.log"))
	for _, want := range []string{
		"client 2001:db8::1 hits\t2\n", "hour 2026-11-22 03 hits\t3\n", "hour 2026-11-22 04 bytes\t812\n",
		"method POST hits\t1\n", "path /buy hits\t1\n", "path / bytes\t1024\n", "status 404 bytes\t0\n", "status 200 hits\t4\n",
	} {
		require.Contains(t, got, want)
	}
	require.Equal(t, "counter bad_lines 1\n", stderr)
}

func TestParseVisitRefuses(t *testing.T) {
	good := `a - - [22/Nov/2026:03:04:05 +0000] "GET / HTTP/1.1" 200 5`
	_, err := parseVisit(good)
	require.NoError(t, err)
	for _, change := range [][2]string{
		{"a - - [", " - - ["},
		{"22/Nov", "2/Nov"},
		{"Nov", "ovN"},
		{"2026", "20x6"},
		{"03:04", "3:04:"},
		{"GET / ", "GET "},
		{"GET /", "GET x"},
		{" 200", " 99"},
		{" 200", " 2x0"},
		{" 5", ""},
		{" 5", " -5"},
		{`" 200`, ` 200`},
		{"] ", " "},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		require.NotEqual(t, good, bad)
		_, err := parseVisit(bad)
		require.ErrorIs(t, err, errLog, bad)
	}
}

func FuzzParseVisit(f *testing.F) {
	f.Add(`192.0.2.7 - ana [22/Nov/2026:03:04:05 +0000] "GET /a?b HTTP/1.1" 200 512`)
	f.Add(`a b [`)
	f.Fuzz(func(t *testing.T, line string) {
		if v, err := parseVisit(line); err == nil {
			require.True(t, v.status >= 100 && v.status <= 599 && v.bytes >= 0 && strings.HasPrefix(v.path, "/"))
			require.Len(t, v.hour, len("2026-11-22 03"))
		}
	})
}

func TestKmeans(t *testing.T) {
	in := filepath.Join("samples", "documents.tsv")
	got, stderr := runJob(t, "--job", "kmeans", "--clusters", "3", "--in", in)
	clusters := map[string]string{} // of each document
	for line := range strings.Lines(got) {
		cluster, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
		clusters[name] = cluster
	}
	require.Len(t, clusters, 8)
	topics := [][]string{{"mareas", "puerto", "pesca"}, {"sopa", "tortilla", "guiso"}, {"sonata", "ensayo"}}
	for _, topic := range topics {
		for _, name := range topic {
			require.Equal(t, clusters[topic[0]], clusters[name], "%s and %s", topic[0], name)
		}
	}
	require.NotEqual(t, clusters["mareas"], clusters["sopa"])
	require.NotEqual(t, clusters["mareas"], clusters["sonata"])
	require.NotEqual(t, clusters["sonata"], clusters["sopa"])
	require.Contains(t, stderr, "counter rounds ")
	got, stderr = runJob(t, "--job", "kmeans", "--in", filepath.Join("samples", "quijote.txt"))
	require.Empty(t, got, "no line has a name")
	require.Equal(t, "counter bad_lines 5\ncounter rounds 1\n", stderr)

	// More clusters than documents leave each document alone.
	got, _ = runJob(t, "--job", "kmeans", "--progress", "--clusters", "20", "--rounds", "30", "--in", in)
	found := map[string]bool{}
	for line := range strings.Lines(got) {
		cluster, _, _ := strings.Cut(line, "\t")
		found[cluster] = true
	}
	require.Len(t, found, 8)
}

func TestLearnAndClassify(t *testing.T) {
	model, _ := runJob(t, "--job", "learn", "--in", filepath.Join("samples", "texts.tsv"))
	require.Contains(t, model, "cocina\t\t4\n")
	require.Contains(t, model, "mar\tbarco\t2\n")
	side := file(t, model)
	got, _ := runJob(t, "--job", "classify", "--side", side, "--in", filepath.Join("samples", "questions.txt"))
	require.Equal(t, []string{"mar", "cocina", "música"}, firstFields(got))
	for _, bad := range []string{"", "a\tb\n", "a\tb\tx\n", "a\tb\t0\n", "a\tb\t3\n"} {
		_, err := parseModel(bad)
		require.Error(t, err, "%q", bad)
	}
}

func firstFields(text string) (list []string) {
	for line := range strings.Lines(text) {
		field, _, _ := strings.Cut(line, "\t")
		list = append(list, field)
	}
	return list
}

func TestAlign(t *testing.T) {
	got, stderr := runJob(t, "--job", "align", "--in", filepath.Join("samples", "sentences.tsv"))
	require.Equal(t, "counter rounds 10\n", stderr)
	for word, want := range map[string]string{"book": "libro", "green": "verde", "house": "casa", "sea": "mar", "table": "mesa"} {
		require.Contains(t, got, word+"\t"+want+" ")
	}
}

func TestFixedPoint(t *testing.T) {
	for n := range uint64(2000) {
		r := root(n)
		require.True(t, r*r <= n && (r+1)*(r+1) > n, n)
	}
	for _, n := range []uint64{1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1} {
		r := root(n)
		require.True(t, r*r <= n && (r+1 > 1<<32-1 || (r+1)*(r+1) > n), n)
	}
	for n, want := range map[int64]float64{1: 0, 2: 1, 3: 1.5849625, 10: 3.3219281, 1 << 40: 40, 1_000_003: 19.9315729} {
		require.InDelta(t, want, float64(log2(n))/one, 2.0/one, n)
	}
	p := place([]byte("barco barco velas"))
	require.InDelta(t, one*one, distance(&p, new(point)), one*one/10000, "a document's point has the length one")
	require.Equal(t, point{}, place([]byte("a de la")))
}

func TestSideDataIsChecked(t *testing.T) {
	for _, bad := range []string{"c\t1 2\n", "c\n", "c\t" + strings.Repeat("x ", 1+dimensions) + "\n"} {
		_, err := parseMiddles(bad)
		require.Error(t, err, "%q", bad)
	}
	for _, bad := range []string{"a\tb\n", "a\tb x\n"} {
		_, err := parseDictionary(bad)
		require.Error(t, err, "%q", bad)
	}
	got := clitest.Run(t, "", "run", "--job", "classify", "--side", file(t, strings.Repeat("x", maxSide+1)), "--in", "samples", "--out", "x")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "bytes that side data may have")
}

// Side data comes from a file, and workers get it from their master.
func FuzzSide(f *testing.F) {
	f.Add("a\tb 3 c 4\n", "b c")
	f.Add("c\t\t2\nc\tword\t1\n", "word")
	f.Add("cluster000\t"+strings.Repeat("9 ", 1+dimensions)+"\n", "some words")
	f.Fuzz(func(t *testing.T, side, text string) {
		if d, err := parseDictionary(side); err == nil {
			d.expect([]byte(text), []byte(text), func(string, string, int64) {})
			for word, v := range d {
				if strings.ContainsAny(word, " \n") {
					continue
				}
				var sum int64
				for _, n := range normalise(v) {
					sum += n
				}
				require.LessOrEqual(t, sum, int64(million))
			}
		}
		if m, err := parseModel(side); err == nil {
			require.Contains(t, m.classes, m.classify([]byte(text)))
		}
		if middles, err := parseMiddles(side); err == nil && len(middles) > 0 {
			at := place([]byte(text))
			nearest(&at, middles)
			_ = cloud{N: 1, Sum: middles[0].at}.String()
		}
	})
}

// zipf writes a text of about size bytes.
func zipf(t *testing.T, size int64) string {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, corpus.Zipf(&text, words.Bundled(), size, 1))
	return file(t, text.String())
}

// distributed runs a job on a master with mappers and reducers and returns the
// output and the events.
func distributed(t *testing.T, mappers, reducers int, args ...string) (output string, events []event) {
	t.Helper()
	dir := t.TempDir()
	out, log := filepath.Join(dir, "out"), filepath.Join(dir, "events")
	master := clitest.Start(t, append([]string{"master", "--out", out, "--listen", "127.0.0.1:0", "--events", log}, args...)...)
	workers := map[string]*clitest.Process{}
	for kind, n := range map[string]int{"mapper": mappers, "reducer": reducers} {
		for i := range n {
			name := fmt.Sprint(kind, i)
			workers[name] = clitest.StartClient(t, "", kind, "--master", master.Addr, "--name", name)
		}
	}
	require.Zero(t, master.Wait(), "%s", master.Stderr)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	recorded, err := os.ReadFile(log)
	require.NoError(t, err)
	for line := range strings.Lines(string(recorded)) {
		var e event
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&e), line)
		events = append(events, e)
		// Who has worked goes home well. Another may have come too late.
		require.Zero(t, workers[e.Worker].Wait(), "%s", workers[e.Worker].Stderr)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left beside the output")
	return string(text), events
}

// An event is a line of the file of -events.
type event struct {
	Event, Kind   string
	Task, Attempt int
	Worker        string
}

// Every job gives the same bytes on workers as in one process.
func TestOnWorkers(t *testing.T) {
	model, _ := runJob(t, "--job", "learn", "--in", filepath.Join("samples", "texts.tsv"))
	text := zipf(t, 300_000)
	for _, test := range [][]string{
		{"--job", "wordcount", "--in", text},
		{"--job", "sort", "--in", text},
		{"--job", "grep", "--pattern", "hab.*amos", "--in", text},
		{"--job", "index", "--in", filepath.Join("samples", "web")},
		{"--job", "poison", "--in", file(t, "uno\n☠\ndos\n☠ tres\n")},
		{"--job", "links", "--in", filepath.Join("samples", "web")},
		{"--job", "hosts", "--in", filepath.Join("samples", "web")},
		{"--job", "accesslog", "--in", filepath.Join("samples", "access.log")},
		{"--job", "kmeans", "--clusters", "3", "--in", filepath.Join("samples", "documents.tsv")},
		{"--job", "classify", "--side", file(t, model), "--in", filepath.Join("samples", "questions.txt")},
		{"--job", "align", "--in", filepath.Join("samples", "sentences.tsv")},
		{"--job", "tree", "--in", filepath.Join("samples", "web")},
	} {
		t.Run(test[1], func(t *testing.T) {
			want, _ := runJob(t, test...)
			require.NotEmpty(t, want)
			got, events := distributed(t, 2, 2, append(test, "--splits", "3", "--reducers", "3")...)
			require.Equal(t, want, got)
			require.True(t, slices.ContainsFunc(events, func(e event) bool { return e.Event == "done" && e.Kind == "reduce" && e.Worker[:7] == "reducer" }))
		})
	}
}

// With replicas each split goes to that many mappers, and counts once.
func TestReplicas(t *testing.T) {
	in := zipf(t, 50_000)
	want, _ := runJob(t, "--job", "wordcount", "--in", in)
	got, events := distributed(t, 3, 1, "--job", "wordcount", "--in", in, "--splits", "2", "--replicas", "2")
	require.Equal(t, want, got)
	for task := range 2 {
		given := map[string]bool{}
		done := 0
		for _, e := range events {
			if e.Kind == "map" && e.Task == task {
				switch e.Event {
				case "assign":
					given[e.Worker] = true
				case "done":
					done++
				}
			}
		}
		require.GreaterOrEqual(t, len(given), 2, "task %d", task)
		require.Equal(t, 1, done, "task %d", task)
	}
}

func TestStatusPage(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	master := clitest.Start(t, "master", "--job", "sort", "--in", zipf(t, 1000), "--out", out, "--status", "127.0.0.1:0")
	_, url, found := strings.Cut(master.Stdout.WaitForCount(t, "\n", 2), "status page on ")
	require.True(t, found)
	response, err := http.Get(strings.TrimSpace(url))
	require.NoError(t, err)
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Contains(t, string(page), "no worker is connected")
	if runtime.GOOS != "windows" {
		require.NotZero(t, master.Stop(), "the job is not done")
	}
	require.NoFileExists(t, out)
}

// streamed runs a job as stream-map, sort, stream-combine, sort, stream-reduce.
func streamed(t *testing.T, in string, args ...string) string {
	t.Helper()
	text, err := os.ReadFile(in)
	require.NoError(t, err)
	step := func(stdin, name string) string {
		got := clitest.Run(t, stdin, append([]string{name}, args...)...)
		require.Zero(t, got.Status, got.Stderr)
		return got.Stdout
	}
	sort := func(text string) string {
		return strings.Join(slices.Sorted(strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n")), "\n") + "\n"
	}
	combined := step(sort(step(string(text), "stream-map")), "stream-combine")
	return step(sort(combined), "stream-reduce")
}

// Jobs of lines give the same bytes as Hadoop Streaming programs.
func TestStreamed(t *testing.T) {
	model, _ := runJob(t, "--job", "learn", "--in", filepath.Join("samples", "texts.tsv"))
	text := zipf(t, 30_000)
	for _, test := range [][]string{
		{"wordcount", text},
		{"sort", file(t, "b\na\x05\na\ta\na\n\nb\r\nb\na\x08\nlast\n")},
		{"grep", text, "--pattern", "amos"},
		{"accesslog", filepath.Join("samples", "access.log")},
		{"learn", filepath.Join("samples", "texts.tsv")},
		{"classify", filepath.Join("samples", "questions.txt"), "--side", file(t, model)},
		{"align", filepath.Join("samples", "sentences.tsv"), "--rounds", "1"},
	} {
		t.Run(test[0], func(t *testing.T) {
			want, _ := runJob(t, append([]string{"--job", test[0], "--in", test[1]}, test[2:]...)...)
			require.NotEmpty(t, want)
			args := slices.DeleteFunc(append([]string{"--job", test[0]}, test[2:]...), func(s string) bool { return s == "--rounds" || s == "1" })
			require.Equal(t, want, streamed(t, test[1], args...))
		})
	}
	got := clitest.Run(t, "no visit\n", "stream-map", "--job", "accesslog")
	require.Equal(t, clitest.Result{Stderr: "reporter:counter:accesslog,bad_lines,1\n"}, got)
	got = clitest.Run(t, "uno\n☠\n", "stream-map", "--job", "poison")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, "panic: a line with a skull")
	got = clitest.Run(t, "uno\tx\n", "stream-reduce", "--job", "wordcount")
	require.Equal(t, 1, got.Status)
	require.Contains(t, got.Stderr, `"x" is no value of job wordcount`)
}

// Programs of others, as tasks in one process and on workers.
func TestPrograms(t *testing.T) {
	grep, uniq := interop.Program(t, "mawk", "mawk", "awk"), interop.Program(t, "coreutils", "uniq")
	in := file(t, "b\na\nb\nb\n\n")
	args := []string{"--job", "programs", "--mapper", grep + " /./", "--reducer", uniq + " -c", "--in", in}
	got, _ := runJob(t, args...)
	require.Equal(t, []string{"1", "a", "3", "b"}, strings.Fields(got))

	out := filepath.Join(t.TempDir(), "out")
	master := clitest.Start(t, append([]string{"master", "--out", out}, args...)...)
	for _, kind := range []string{"mapper", "reducer"} {
		clitest.StartClient(t, "", kind, "--master", master.Addr, "--programs")
	}
	require.Zero(t, master.Wait(), "%s", master.Stderr)
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, got, string(text))

	master = clitest.Start(t, append([]string{"master", "--out", out + "2"}, args...)...)
	clitest.StartClient(t, "", "mapper", "--master", master.Addr, "--name", "careful")
	require.Equal(t, 1, master.Wait())
	require.Contains(t, master.Stderr.String(), "worker careful starts no programs of others")
	require.NoFileExists(t, out+"2")
}

// countInPython counts words by the same rule, with other code.
const countInPython = `
import collections, sys, unicodedata
counts, word = collections.Counter(), ""
for c in open(sys.argv[1], encoding="utf-8", errors="surrogateescape").read() + " ":
    if unicodedata.category(c).startswith("L"):
        word += c.lower()
    elif word:
        counts[word] += 1
        word = ""
for word in sorted(counts, key=lambda w: w.encode()):
    sys.stdout.buffer.write(("%s\t%d\n" % (word, counts[word])).encode())
`

// The words of the whole Quijote are those that Python counts.
func TestQuijote(t *testing.T) {
	text := filepath.Join(interop.Data(t), "quijote.txt")
	want, err := exec.CommandContext(t.Context(), interop.Python(t), "-c", countInPython, text).Output()
	require.NoError(t, err)
	got, _ := runJob(t, "--job", "wordcount", "--in", text)
	require.True(t, string(want) == got, "%d bytes and %d", len(want), len(got))
	require.Contains(t, got, "\nquijote\t")
}
