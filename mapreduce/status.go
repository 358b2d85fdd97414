package mapreduce

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Stats is what a [Master] is at.
type Stats struct {
	Job   string    // the one at hand, or the last; "" before the first
	Began time.Time // of the job
	Ended time.Time // of the work on it; zero while it goes on
	Err   error     // why it is given up

	Maps        int      // splits
	MapsDone    int      // splits that are mapped
	Reduces     int      // partitions
	ReducesDone int      // partitions that are reduced
	Bytes       int64    // of the input
	BytesMapped int64    // of it
	Counters    Counters // of the tasks that are done

	Workers  []WorkerStats  // those connected
	Attempts []AttemptStats // of all tasks, in the order of their beginning
}

// WorkerStats is how a worker is known to its master.
type WorkerStats struct {
	Name  string    // what it calls itself
	Addr  string    // where it comes from
	Kind  Kind      // the tasks it does; "" means both kinds
	Heard time.Time // its last sign of life
	Lost  bool      // silent for too long
	Task  string    // as in "map 3"; "" if it has nothing to do
}

// AttemptStats is one run of a task by a worker.
type AttemptStats struct {
	Kind    Kind      // of the task
	Task    int       // its number
	Attempt int       // of the task, from 0
	Worker  string    // its name
	State   string    // running, done, failed or discarded
	Began   time.Time // when it was assigned
	Ended   time.Time // zero while it runs
}

// Stats returns what the master is at.
func (m *Master) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	var s Stats
	for _, w := range m.workers {
		ws := WorkerStats{Name: w.member.name, Addr: w.RemoteAddr().String(), Kind: w.member.kind, Heard: w.member.heard, Lost: w.member.lost}
		if a := w.member.busy; a != nil && m.run != nil {
			ws.Task = fmt.Sprintf("%s %d", a.task.kind, a.task.number)
		}
		s.Workers = append(s.Workers, ws)
	}
	r := m.last
	if r == nil {
		return s
	}
	s.Job, s.Began, s.Ended, s.Err, s.Bytes = r.program.name, r.began, r.ended, r.c.err, r.total
	s.Maps, s.Reduces, s.Counters = len(r.c.maps), len(r.c.reduces), r.c.counters()
	for i, t := range r.c.maps {
		if t.done() {
			s.MapsDone++
			s.BytesMapped += r.splits[i].size
		}
	}
	for _, t := range r.c.reduces {
		if t.done() {
			s.ReducesDone++
		}
	}
	for _, tasks := range [][]*task{r.c.maps, r.c.reduces} {
		for _, t := range tasks {
			for _, a := range t.attempts {
				s.Attempts = append(s.Attempts, AttemptStats{t.kind, t.number, a.number, a.worker.name, string(a.state), a.start, a.end})
			}
		}
	}
	slices.SortStableFunc(s.Attempts, func(a, b AttemptStats) int { return a.Began.Compare(b.Began) })
	return s
}

// ServeHTTP shows the status page: the job's progress, the workers, the tasks, and
// a picture of who did what when. The page loads itself again while a job runs.
func (m *Master) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the status can only be read", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("Cache-Control", "no-store")
	s := m.Stats()
	_ = statusPage().Execute(w, struct {
		Stats
		Now   time.Time
		Chart chart
	}{s, time.Now(), drawChart(s, time.Now())})
}

// maxBars is how many attempts the page shows: the last ones of a large job.
const maxBars = 500

// A chart has a row for each worker and a bar for each attempt, in pixels.
type chart struct {
	Width, Height int
	Rows          []chartRow
	Bars          []chartBar
}

type chartRow struct {
	Name string
	Y    int
}

type chartBar struct {
	X, Y, W, TextY      int
	Class, Label, Title string
}

const (
	chartLeft  = 130 // where time begins
	chartWide  = 760
	rowHeight  = 22
	barPadding = 3
)

func drawChart(s Stats, now time.Time) chart {
	end := s.Ended
	if end.IsZero() {
		end = now
	}
	span := max(end.Sub(s.Began), time.Millisecond)
	at := func(t time.Time) int { return int(float64(t.Sub(s.Began)) / float64(span) * chartWide) }
	c := chart{Width: chartLeft + chartWide + 10}
	rows := map[string]int{}
	for _, a := range s.Attempts[max(0, len(s.Attempts)-maxBars):] {
		y, ok := rows[a.Worker]
		if !ok {
			y = len(rows) * rowHeight
			rows[a.Worker] = y
			c.Rows = append(c.Rows, chartRow{a.Worker, y + rowHeight - 7})
		}
		until := a.Ended
		if until.IsZero() || until.After(end) {
			until = end
		}
		label := ""
		width := max(at(until)-at(a.Began), 2)
		if width > 30 { // there is room for it
			label = fmt.Sprint(a.Task)
		}
		c.Bars = append(c.Bars, chartBar{
			X: chartLeft + at(a.Began), Y: y + barPadding, W: width, TextY: y + rowHeight - 7,
			Class: string(a.Kind) + " " + a.State, Label: label,
			Title: fmt.Sprintf("%s %d, attempt %d, on %s: %s, %v", a.Kind, a.Task, a.Attempt, a.Worker, a.State, until.Sub(a.Began).Round(time.Millisecond)),
		})
	}
	c.Height = len(rows)*rowHeight + 4
	return c
}

// statusPage is parsed when it is first wanted.
var statusPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("status").Funcs(template.FuncMap{
		"ago":  func(now, t time.Time) string { return now.Sub(t).Round(100 * time.Millisecond).String() },
		"or":   func(a, b string) string { return cmp.Or(a, b) },
		"last": func(a []AttemptStats) []AttemptStats { return a[max(0, len(a)-maxBars):] },
	}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{or .Job "mapreduce"}}</title>
{{if and .Job .Ended.IsZero}}<meta http-equiv="refresh" content="1">{{else}}<meta http-equiv="refresh" content="5">{{end}}
<style>
body { font: 14px sans-serif; margin: 2em; max-width: 920px }
table { border-collapse: collapse; margin: 1em 0 } th, td { text-align: left; padding: 2px 14px 2px 0; border-bottom: 1px solid #ddd }
progress { width: 300px; vertical-align: middle } svg { background: #f6f6f6 } svg text { font: 12px sans-serif }
svg .label { fill: white } rect { stroke: #f6f6f6 }
.map { fill: #4a7fb5 } .reduce { fill: #4f9d69 } .running { opacity: .55 } .failed { fill: #c0504d } .discarded { fill: #aaa }
</style></head><body>
{{if not .Job}}<h1>No job yet</h1>{{else}}<h1>{{.Job}}</h1>
<p>{{if .Err}}given up: {{.Err}}{{else if .Ended.IsZero}}running for {{ago .Now .Began}}{{else}}over after {{ago .Ended .Began}}{{end}}</p>
<p>map <progress max="{{.Maps}}" value="{{.MapsDone}}"></progress> {{.MapsDone}} of {{.Maps}} splits, {{.BytesMapped}} of {{.Bytes}} bytes</p>
<p>reduce <progress max="{{.Reduces}}" value="{{.ReducesDone}}"></progress> {{.ReducesDone}} of {{.Reduces}} partitions</p>
{{with .Chart}}<svg width="{{.Width}}" height="{{.Height}}" role="img" aria-label="who did what when">
{{range .Rows}}<text x="4" y="{{.Y}}">{{printf "%.16s" .Name}}</text>
{{end}}{{range $b := .Bars}}<rect class="{{.Class}}" x="{{.X}}" y="{{.Y}}" width="{{.W}}" height="16"><title>{{.Title}}</title></rect>{{with .Label}}<text class="label" x="{{$b.X}}" y="{{$b.TextY}}" dx="4">{{.}}</text>{{end}}
{{end}}</svg>
<p>time goes to the right; blue: map, green: reduce, pale: running, red: failed or lost, grey: too late; the numbers are those of the tasks</p>{{end}}
{{if .Counters}}<table><tr><th>counter<th>sum</tr>{{range $name, $n := .Counters}}<tr><td>{{$name}}<td>{{$n}}</tr>
{{end}}</table>{{end}}{{end}}
<table><tr><th>worker<th>address<th>does<th>task<th>heard</tr>
{{range .Workers}}<tr><td>{{.Name}}<td>{{.Addr}}<td>{{if .Kind}}{{.Kind}}{{else}}both{{end}}<td>{{or .Task "idle"}}<td>{{if .Lost}}lost, {{end}}{{if not .Heard.IsZero}}{{ago $.Now .Heard}} ago{{end}}</tr>
{{else}}<tr><td colspan="5">no worker is connected</tr>{{end}}</table>
{{if .Attempts}}<table><tr><th>task<th>attempt<th>worker<th>state<th>began<th>took</tr>
{{range last .Attempts}}<tr><td>{{.Kind}} {{.Task}}<td>{{.Attempt}}<td>{{.Worker}}<td>{{.State}}<td>{{ago .Began $.Began}}<td>{{if not .Ended.IsZero}}{{ago .Ended .Began}}{{end}}</tr>
{{end}}</table>{{end}}
</body></html>
`))
})
