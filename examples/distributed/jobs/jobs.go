package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zocalo-go/zocalo/examples/internal/cli"
	"github.com/zocalo-go/zocalo/examples/internal/corpus"
	"github.com/zocalo-go/zocalo/mapreduce"
)

// params are what a job may have to know beyond its name. A master sends them to
// its workers along with the name.
type params = map[string]string

// Names of params.
const (
	paramPattern  = "pattern"  // of grep
	paramClusters = "clusters" // of kmeans
	paramMapper   = "mapper"   // of programs
	paramReducer  = "reducer"  // of programs
	paramSide     = "side"     // what came out of another job, or of the round before
)

// A recipe is a job with what the command line says of it.
type recipe struct {
	name    string
	summary string
	build   func(params) (mapreduce.Program, error)
	params  []string // names of the params that it knows
	rounds  bool     // run it again and again, each time with the last output as side data,
	then    string   // and then this job, if any
}

// recipes are all jobs.
var recipes = []recipe{
	{name: "wordcount", summary: "how often each word comes", build: simple(wordcount)},
	{name: "index", summary: "in which files of a folder each word is", build: simple(index)},
	{name: "sort", summary: "the lines in the order of their bytes", build: simple(sortLines)},
	{name: "grep", summary: "the lines that match -pattern", build: grep, params: []string{paramPattern}},
	{name: "poison", summary: "wordcount, but a line with a skull makes it panic", build: simple(poison)},
	{name: "links", summary: "who links to each page of a mirrored web", build: simple(reverseLinks)},
	{name: "hosts", summary: "the most frequent words of each host of a mirrored web", build: simple(hosts)},
	{name: "accesslog", summary: "hits and bytes by client, hour, method, path and status", build: simple(accessLog)},
	{name: "kmeans", summary: "clusters of documents, from lines of name TAB text", build: kmeans, params: []string{paramClusters, paramSide}, rounds: true, then: "assign"},
	{name: "assign", summary: "the cluster of each document, by the middles in -side", build: assign, params: []string{paramSide}},
	{name: "learn", summary: "what naive Bayes needs to know, from lines of class TAB text", build: simple(learn)},
	{name: "classify", summary: "the most probable class of each line, by the output of learn in -side", build: classify, params: []string{paramSide}},
	{name: "align", summary: "a dictionary, from lines of sentence TAB translation", build: align, params: []string{paramSide}, rounds: true},
	{name: "tree", summary: "wordcount of a folder in levels: each file is a map-reduce of its own", build: simple(tree)},
	{name: "programs", summary: "any two programs written for Hadoop Streaming, -mapper and -reducer", build: programs, params: []string{paramMapper, paramReducer}},
}

// names returns the names of all jobs.
func names() (list []string) {
	for _, r := range recipes {
		list = append(list, r.name)
	}
	return list
}

// find returns the recipe of that name.
func find(name string) (recipe, error) {
	i := slices.IndexFunc(recipes, func(r recipe) bool { return r.name == name })
	if i < 0 {
		return recipe{}, cli.Usagef("no job %q; there are %s", name, strings.Join(names(), ", "))
	}
	return recipes[i], nil
}

// job makes the job of that name, here and on workers.
func job(name string, p params) (mapreduce.Program, error) {
	r, err := find(name)
	if err != nil {
		return nil, err
	}
	return r.build(p)
}

// simple makes a recipe of a job without params.
func simple(program func() mapreduce.Program) func(params) (mapreduce.Program, error) {
	return func(params) (mapreduce.Program, error) { return program(), nil }
}

func wordcount() mapreduce.Program { return corpus.WordCount() }

// poison is a wordcount with a fault: for one kind of line it panics.
func poison() mapreduce.Program {
	j := corpus.WordCount()
	count := j.Map
	j.Name, j.MaxSkipped = "poison", math.MaxInt
	j.Map = func(t *mapreduce.Task, rec mapreduce.Record, emit func([]byte, int64)) error {
		if bytes.ContainsRune(rec.Data, '\u2620') {
			panic("a line with a skull")
		}
		return count(t, rec, emit)
	}
	return j
}

// tree is a wordcount in levels: who maps a file is itself the master of a
// smaller map-reduce, over the pieces of the file, and emits its result. The
// engine below could as well be a [mapreduce.Master] with workers of its own.
func tree() mapreduce.Program {
	j := corpus.WordCount()
	j.Name, j.WholeFiles = "tree", true
	j.Map = func(_ *mapreduce.Task, rec mapreduce.Record, emit func([]byte, int64)) error {
		var table bytes.Buffer
		below := &mapreduce.Local{Splits: 4, Memory: 32 << 20}
		_, err := below.Run(context.Background(), corpus.WordCount(),
			mapreduce.Reader(rec.Source, bytes.NewReader(rec.Data)), mapreduce.Writer(&table))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(table.Bytes()) {
			word, sum, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
			n, err := strconv.ParseInt(string(sum), 10, 64)
			if err != nil {
				return err
			}
			emit(word, n)
		}
		return nil
	}
	return j
}

// index emits each word with its file. The combiner makes lists, with tabs
// between the names.
func index() mapreduce.Program {
	return &mapreduce.Job[[]byte, []byte]{
		Name: "index",
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(word, file []byte)) error {
			file := []byte(rec.Source)
			for word := range corpus.Words(rec.Data) {
				emit(word, file)
			}
			return nil
		},
		Combine: joinFiles,
		Reduce: func(_ *mapreduce.Task, word []byte, values iter.Seq[[]byte], w io.Writer) error {
			var files []string
			for list := range values {
				files = append(files, strings.Split(string(list), "\t")...)
			}
			_, err := fmt.Fprintf(w, "%s\t%s\n", word, strings.Join(unique(files), ","))
			return err
		},
	}
}

// joinFiles appends list b to list a, without the first of b if it is the last
// of a: then most words of a file are noted once.
func joinFiles(a, b []byte) []byte {
	last := a[bytes.LastIndexByte(a, '\t')+1:]
	first, rest, more := bytes.Cut(b, []byte("\t"))
	switch {
	case !bytes.Equal(last, first):
		a = append(append(a, '\t'), b...)
	case more:
		a = append(append(a, '\t'), rest...)
	}
	return a
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// sortLines has nothing to do: the engine sorts by key.
func sortLines() mapreduce.Program {
	return &mapreduce.Job[[]byte, struct{}]{
		Name: "sort",
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func([]byte, struct{})) error {
			emit(rec.Data, struct{}{})
			return nil
		},
		Reduce: func(_ *mapreduce.Task, line []byte, values iter.Seq[struct{}], w io.Writer) error {
			for range values { // equal lines are one key
				if err := writeLine(w, line); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func writeLine(w io.Writer, line []byte) error {
	if _, err := w.Write(line); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// inOrder is a job whose output has its lines in the order of the input: their
// places are the keys, with zeros before, so that they sort as text as well.
func inOrder(name string, p params, line func(data []byte) (out []byte, ok bool)) mapreduce.Program {
	return &mapreduce.Job[string, []byte]{
		Name: name, Params: p,
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(string, []byte)) error {
			if out, ok := line(rec.Data); ok {
				emit(fmt.Sprintf("%016d", rec.Pos), out)
			}
			return nil
		},
		Reduce: func(_ *mapreduce.Task, _ string, values iter.Seq[[]byte], w io.Writer) error {
			for out := range values {
				if err := writeLine(w, out); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func grep(p params) (mapreduce.Program, error) {
	expression, ok := p[paramPattern]
	if !ok {
		return nil, cli.Usagef("the job grep needs -pattern")
	}
	pattern, err := regexp.Compile(expression)
	if err != nil {
		return nil, cli.Usagef("-pattern: %v", err)
	}
	return inOrder("grep", p, func(data []byte) ([]byte, bool) { return data, pattern.Match(data) }), nil
}

// reverseLinks emits for each link its target with the page it is on.
func reverseLinks() mapreduce.Program {
	return &mapreduce.Job[string, string]{
		Name: "links", WholeFiles: true,
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(target, page string)) error {
			page := pageURL(rec.Source)
			for target := range links(page, rec.Data) {
				emit(target, page.String())
			}
			return nil
		},
		Reduce: func(_ *mapreduce.Task, target string, values iter.Seq[string], w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s\t%s\n", target, strings.Join(unique(slices.Collect(values)), " "))
			return err
		},
	}
}

// hostTerms is how many words of a host are told.
const hostTerms = 10

// hosts emits for each page its host with the vector of its words.
func hosts() mapreduce.Program {
	return &mapreduce.Job[string, vector]{
		Name: "hosts", WholeFiles: true,
		Map: func(_ *mapreduce.Task, rec mapreduce.Record, emit func(string, vector)) error {
			terms := vector{}
			for word := range corpus.Words(text(rec.Data)) {
				if telling(word) {
					terms[string(word)]++
				}
			}
			emit(pageURL(rec.Source).Host, terms)
			return nil
		},
		Combine: func(a, b vector) vector { a.add(b); return a },
		Reduce: func(_ *mapreduce.Task, host string, values iter.Seq[vector], w io.Writer) error {
			sum := sumVectors(values)
			_, err := fmt.Fprintf(w, "%s\t%s\n", host, sum.join(sum.top(hostTerms)))
			return err
		},
	}
}

// sumVectors is a reduce function's beginning: the sum of all values.
func sumVectors(values iter.Seq[vector]) vector {
	sum := vector{}
	for v := range values {
		sum.add(v)
	}
	return sum
}

// accessLog emits for each visit ten small facts.
func accessLog() mapreduce.Program {
	return &mapreduce.Job[string, int64]{
		Name: "accesslog",
		Map: func(t *mapreduce.Task, rec mapreduce.Record, emit func(string, int64)) error {
			v, err := parseVisit(string(rec.Data))
			if err != nil {
				t.Count("bad_lines", 1)
				return nil
			}
			for _, what := range []string{
				"client " + v.client, "hour " + v.hour, "method " + v.method, "path " + v.path, fmt.Sprintf("status %d", v.status),
			} {
				emit(what+" hits", 1)
				emit(what+" bytes", v.bytes)
			}
			return nil
		},
		Combine: corpus.Add,
		Reduce:  corpus.WriteSum[string],
	}
}

// twoParts cuts a line at its first tab. Lines without are counted as bad.
func twoParts(t *mapreduce.Task, line []byte) (first, second []byte, ok bool) {
	first, second, ok = bytes.Cut(line, []byte("\t"))
	if !ok {
		t.Count("bad_lines", 1)
	}
	return first, second, ok
}

// learn emits for each word of a text its class and itself, and once the class
// with an empty word.
func learn() mapreduce.Program {
	return &mapreduce.Job[string, int64]{
		Name: "learn",
		Map: func(t *mapreduce.Task, rec mapreduce.Record, emit func(string, int64)) error {
			class, text, ok := twoParts(t, rec.Data)
			if !ok {
				return nil
			}
			emit(string(class)+"\t", 1)
			for word := range corpus.Words(text) {
				emit(string(class)+"\t"+string(word), 1)
			}
			return nil
		},
		Combine: corpus.Add,
		Reduce:  corpus.WriteSum[string],
	}
}

func classify(p params) (mapreduce.Program, error) {
	m, err := parseModel(p[paramSide])
	if err != nil {
		return nil, err
	}
	return inOrder("classify", p, func(data []byte) ([]byte, bool) {
		return append([]byte(m.classify(data)+"\t"), data...), true
	}), nil
}

// align emits for each word the words that it may be translated with.
func align(p params) (mapreduce.Program, error) {
	d, err := parseDictionary(p[paramSide])
	if err != nil {
		return nil, err
	}
	return &mapreduce.Job[string, vector]{
		Name: "align", Params: p,
		Map: func(t *mapreduce.Task, rec mapreduce.Record, emit func(string, vector)) error {
			from, to, ok := twoParts(t, rec.Data)
			if ok {
				d.expect(from, to, func(from, to string, millionths int64) { emit(from, vector{to: millionths}) })
			}
			return nil
		},
		Reduce: func(_ *mapreduce.Task, word string, values iter.Seq[vector], w io.Writer) error {
			likely := normalise(sumVectors(values))
			_, err := fmt.Fprintf(w, "%s\t%s\n", word, likely.join(likely.top(len(likely))))
			return err
		},
	}, nil
}

// kmeans emits for each document the cluster whose middle is nearest, with the
// document's point. As long as there are too few clusters, each round begins
// one more: with the document that is farthest from all the others' middles.
func kmeans(p params) (mapreduce.Program, error) {
	middles, err := parseMiddles(p[paramSide])
	if err != nil {
		return nil, err
	}
	clusters, err := strconv.Atoi(cmp.Or(p[paramClusters], "4"))
	if err != nil || clusters < 1 || clusters > 100 {
		return nil, cli.Usagef("-clusters %s: want a number from 1 to 100", p[paramClusters])
	}
	next := nextCluster(middles)
	return &mapreduce.Job[string, cloud]{
		Name: "kmeans", Params: p,
		Map: func(t *mapreduce.Task, rec mapreduce.Record, emit func(string, cloud)) error {
			name, text, ok := twoParts(t, rec.Data)
			if !ok {
				return nil
			}
			at := place(text)
			far := int64(one*one) + int64(hash(name)) // for the first cluster any document will do
			if len(middles) > 0 {
				var cluster string
				cluster, far = nearest(&at, middles)
				emit(cluster, cloud{N: 1, Sum: at})
			}
			if len(middles) < clusters && far > tooNear {
				emit(next, cloud{N: 1, Sum: at, Far: far})
			}
			return nil
		},
		Combine: func(a, b cloud) cloud { a.add(b); return a },
		Reduce: func(_ *mapreduce.Task, cluster string, values iter.Seq[cloud], w io.Writer) error {
			var all cloud
			for c := range values {
				all.add(c)
			}
			_, err := fmt.Fprintf(w, "%s\t%s\n", cluster, all)
			return err
		},
	}, nil
}

// nextCluster returns the first name that no cluster has.
func nextCluster(middles []middle) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("cluster%03d", i)
		if !slices.ContainsFunc(middles, func(m middle) bool { return m.cluster == name }) {
			return name
		}
	}
}

// assign writes for each document its cluster and its name.
func assign(p params) (mapreduce.Program, error) {
	middles, err := parseMiddles(p[paramSide])
	if err != nil {
		return nil, err
	}
	if len(middles) == 0 {
		return nil, cli.Usagef("the job assign needs -side: the middles of clusters")
	}
	return inOrder("assign", p, func(data []byte) ([]byte, bool) {
		name, text, ok := bytes.Cut(data, []byte("\t"))
		at := place(text)
		cluster, _ := nearest(&at, middles)
		return append([]byte(cluster+"\t"), name...), ok
	}), nil
}
