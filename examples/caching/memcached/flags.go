package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/cache"
	"github.com/zocalo-go/zocalo/examples/internal/cli"
)

// withValue are memcached's flags that take a value. It may follow without a
// space, as getopt has it: -m64.
const withValue = "sUlpumIctRbBYoP"

// separate puts a space where getopt needs none.
func separate(args []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || !strings.Contains(withValue, arg[1:2]) || strings.HasPrefix(arg[2:], "=") {
			out = append(out, arg)
			continue
		}
		out = append(out, arg[:2])
		if len(arg) > 2 {
			out = append(out, arg[2:])
		} else if i++; i < len(args) {
			out = append(out, args[i]) // whatever it is, even "-1"
		}
	}
	return out
}

// options are the values of the flags.
type options struct {
	hosts    []string
	socket   string
	tcp, udp int
	memory   *int
	threads  int
	verbose  bool
	shutdown bool
	authFile string
	daemon   bool
	pidFile  string
	server   cache.Server // what the flags say of it directly
}

// declare declares memcached's flags.
func declare(fs *flag.FlagSet) *options {
	o := &options{}
	s := &o.server
	s.Settings = map[string]string{"binding_protocol": "auto", "tcp_backlog": "1024", "lru_crawler": "no"}
	fs.Func("l", "listen on this `address`, or address:port (127.0.0.1); may be repeated, or a list with commas", func(v string) error {
		o.hosts = append(o.hosts, strings.Split(v, ",")...)
		return nil
	})
	fs.IntVar(&o.tcp, "p", 11211, "TCP `port`; 0 means none, -1 picks a free one")
	fs.IntVar(&o.udp, "U", 0, "UDP `port`; 0 means none, -1 picks a free one")
	fs.StringVar(&o.socket, "s", "", "listen on this `path`, a unix-socket, and on nothing else")
	o.memory = cli.Number(fs, "m", 64, 1, 1<<24, "memory for items, in `mebibytes`")
	fs.BoolVar(&s.NoEvict, "M", false, "answer with an error when memory is full, instead of evicting")
	fs.Func("I", "largest item, in `bytes`, or with k or m behind it (1m); from 1k to 128m", func(v string) (err error) {
		s.MaxItem, err = parseSize(v)
		return err
	})
	count(fs, &s.MaxConns, "c", "serve at most this `number` of connections (1024)")
	count(fs, &s.MaxBatch, "R", "carry out at most this `number` of commands of one connection before others get their turn (20)")
	count(fs, &o.threads, "t", "compute with at most this `number` of processors (all)")
	fs.BoolVar(&s.NoFlush, "F", false, "refuse the command flush_all")
	fs.BoolVar(&s.NoWatch, "W", false, "refuse the command watch")
	fs.BoolVar(&o.shutdown, "A", false, "allow the command shutdown")
	fs.BoolVar(&o.daemon, "d", false, "run in the background")
	fs.StringVar(&o.pidFile, "P", "", "with -d: write the number of the process to this `file`")
	fs.StringVar(&o.authFile, "Y", "", "`file` with a line user:password for everybody who may come in")
	fs.Func("o", "more options, a `list` with commas: idle_timeout=SECONDS; others of memcached's do nothing", o.extended)
	for _, name := range []string{"v", "vv", "vvv"} {
		fs.BoolVar(&o.verbose, name, false, "tell of connections and commands, on standard error")
	}
	fs.BoolVar(&s.DebugTime, "debugtime", false, "allow the command debugtime, which moves the clock: for tests of expiry")

	fs.String("u", "", "does nothing: the `user` to become")
	fs.BoolFunc("C", "does nothing but appear in stats settings: no cas", func(string) error {
		s.Settings["cas_enabled"] = "no"
		return nil
	})
	fs.Func("b", "does nothing but appear in stats settings: the `backlog`, which the system decides", func(v string) error {
		s.Settings["tcp_backlog"] = v
		if _, err := strconv.ParseUint(v, 10, 31); err != nil {
			return fmt.Errorf("want a number")
		}
		return nil
	})
	fs.Func("B", "does nothing but appear in stats settings: the `protocol`, auto, ascii or binary; we have ascii only", func(v string) error {
		s.Settings["binding_protocol"] = v
		if !slices.Contains([]string{"auto", "ascii", "binary"}, v) {
			return fmt.Errorf("want auto, ascii or binary")
		}
		return nil
	})
	return o
}

// count declares a flag for a number from 1.
func count(fs *flag.FlagSet, p *int, name, usage string) {
	fs.Func(name, usage, func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return fmt.Errorf("want a number from 1")
		}
		*p = n
		return nil
	})
}

// parseSize reads a size of -I.
func parseSize(v string) (int, error) {
	unit := 1
	switch {
	case strings.HasSuffix(v, "k"), strings.HasSuffix(v, "K"):
		unit = 1 << 10
	case strings.HasSuffix(v, "m"), strings.HasSuffix(v, "M"):
		unit = 1 << 20
	}
	digits := v
	if unit > 1 {
		digits = v[:len(v)-1]
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > 128<<20 || n*unit < 1<<10 || n*unit > 128<<20 {
		return 0, fmt.Errorf("want a size from 1k to 128m")
	}
	return n * unit, nil
}

// ignored are options of -o that mean nothing to us: most are about slabs, which
// our memory does not have.
var ignored = strings.Fields(`
	relaxed_privileges drop_privileges no_drop_privileges modern maxconns_fast no_maxconns_fast
	hashpower no_hashexpand hash_algorithm slab_reassign no_slab_reassign slab_automove slab_automove_ratio
	slab_automove_window slab_automove_freeratio slab_chunk_max slab_sizes
	lru_crawler_sleep lru_crawler_tocrawl lru_maintainer no_lru_maintainer hot_lru_pct warm_lru_pct
	hot_max_factor warm_max_factor temporary_ttl tail_repair_time track_sizes watcher_logbuf_size
	worker_logbuf_size read_buf_mem_limit resp_obj_mem_limit inline_ascii_resp no_inline_ascii_resp`)

// extended reads the list of -o.
func (o *options) extended(list string) error {
	for option := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch {
		case name == "idle_timeout":
			n, err := strconv.ParseUint(value, 10, 31)
			if err != nil {
				return fmt.Errorf("idle_timeout wants a number of seconds, not %q", value)
			}
			o.server.IdleTimeout = time.Duration(n) * time.Second
		case name == "lru_crawler":
			delete(o.server.Settings, "lru_crawler")
		case name == "no_lru_crawler" || name == "no_modern":
			o.server.Settings["lru_crawler"] = "no"
		case !slices.Contains(ignored, name):
			return fmt.Errorf("no option %q", name)
		}
	}
	return nil
}
