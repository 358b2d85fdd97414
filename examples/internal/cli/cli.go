// Package cli is what the programs of the exercises have in common: commands
// with flags, usage with an example, exit statuses, a clean stop on Ctrl-C,
// the line "listening on ADDR" and network errors in plain words.
//
// An exercise's main function only calls [Main] with its run function, and run
// only calls [Program.Run]:
//
//	func main() { cli.Main(run) }
//
//	func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
//		return program().Run(ctx, args, stdin, stdout, stderr)
//	}
//
// Exit statuses: 0 for success, for help, and for a server that was told to
// stop; 1 for a failure; 2 for a wrong command, flag or value; 130 for a
// command other than a server that Ctrl-C cut short.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

// Exit statuses of every program.
const (
	OK          = 0   // done, or a server stopped on request
	Failure     = 1   // the network, a file or a peer failed us
	BadUsage    = 2   // wrong command, flag, value or argument
	Interrupted = 130 // Ctrl-C before a command had finished: 128 + SIGINT
)

// DemoLimit bounds a command named demo. By convention a demo takes at most
// five seconds; the limit is larger, for slow machines.
const DemoLimit = 15 * time.Second

// A Func is the whole program as a function: what main would do, with the
// process's surroundings as arguments. It returns the exit status.
type Func func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Main calls run with the process's arguments and streams and exits with its
// status. The first Ctrl-C or SIGTERM cancels run's context; the second ends
// the process at once.
func Main(run Func) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a signal does what it does by default: kill
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// A Program is the command line of one exercise.
type Program struct {
	Name     string    // as the folder is called: "udplocal"
	Summary  string    // one line: what it shows
	Example  string    // one or more lines that a reader can type; shown by -h
	Commands []Command // in the order of the help
}

// A Command is one subcommand of a Program. A command without a name runs when
// the first argument names no command.
type Command struct {
	Name    string // "server", "client", "demo"
	Summary string // one line
	Args    string // what may follow the flags, for the usage line: "FILE"; empty: nothing may

	// Setup declares the command's flags and returns what to do once they
	// have been parsed.
	Setup func(fs *flag.FlagSet) Action
}

// An Action does a command's work. It returns nil when it has done it, or when
// it is a server and ctx was cancelled. A [UsageError] becomes exit status 2, a
// [Status] itself, any other error one line on standard error and status 1.
type Action func(ctx context.Context, env *Env) error

// An Env is what an Action works with. Its streams may be written by several
// goroutines; each Write comes out whole.
type Env struct {
	Stdin  io.Reader // of the process, or what a demo gives to a command
	Stdout io.Writer // of the process, or the demo's transcript
	Stderr io.Writer // likewise
	Args   []string  // what followed the flags

	program *Program
	label   string
}

// A UsageError says that the command line was wrong.
type UsageError struct {
	Problem string // what is wrong and what would be right, in one line
}

// Error returns the text.
func (e *UsageError) Error() string { return e.Problem }

// Usagef returns a [UsageError] with a formatted text.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// Status is an error that says nothing but the exit status: for a program
// that has already said what there was to say.
type Status int

// Error says the number.
func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Run parses args, runs the command that they name and returns the exit
// status of the process.
func (p *Program) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var mu sync.Mutex // one for both streams: they may be the same terminal
	env := &Env{
		Stdin:   stdin,
		Stdout:  &lockedWriter{mu: &mu, w: stdout},
		Stderr:  &lockedWriter{mu: &mu, w: stderr},
		program: p,
	}
	err := p.run(ctx, env, args)
	status := OK
	if err != nil {
		status = Failure
		if code, ok := errors.AsType[Status](err); ok {
			return int(code)
		}
		var text string
		if usage, ok := errors.AsType[*UsageError](err); ok {
			status, text = BadUsage, usage.Problem
		} else if ctx.Err() != nil && stopped(err) {
			status, text = Interrupted, "interrupted"
		} else {
			text = Explain(err)
		}
		fmt.Fprintf(env.Stderr, "%s: %s\n", p.Name, oneLine(text))
	}
	return status
}

// stopped reports whether err is how an action ends whose context was
// cancelled: by the context itself, or because its connection was closed, or
// its deadline moved, to wake it up.
func stopped(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// oneLine joins the lines of an error's text: a failure is told in one.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// run runs the command that args name with env's streams.
func (p *Program) run(ctx context.Context, env *Env, args []string) error {
	cmd, rest, err := p.find(args)
	if err != nil {
		return err
	}
	if cmd == nil {
		p.usage(env.Stdout)
		return nil
	}
	name := strings.TrimSpace(p.Name + " " + cmd.Name)
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors and usage are ours to print
	action := cmd.Setup(fs)
	if err := fs.Parse(rest); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			p.commandUsage(env.Stdout, cmd, fs)
			return nil
		}
		return Usagef("%v (%s -h shows the flags)", err, name)
	}
	if cmd.Args == "" && fs.NArg() > 0 {
		return Usagef("unexpected argument %q (%s -h shows the usage)", fs.Arg(0), name)
	}
	env.Args = fs.Args()
	if cmd.Name == "demo" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DemoLimit)
		defer cancel()
	}
	return action(ctx, env)
}

// find returns the command that args name and its own arguments; no command
// and no error when args ask for help.
func (p *Program) find(args []string) (*Command, []string, error) {
	var unnamed *Command
	for i := range p.Commands {
		cmd := &p.Commands[i]
		if cmd.Name == "" {
			unnamed = cmd
		} else if len(args) > 0 && args[0] == cmd.Name {
			return cmd, args[1:], nil
		}
	}
	switch {
	case len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help"):
		return nil, nil, nil
	case unnamed != nil && (len(args) == 0 || unnamed.Args != "" || strings.HasPrefix(args[0], "-")):
		return unnamed, args, nil
	case len(args) == 0:
		return nil, nil, Usagef("no command given (%s -h lists them)", p.Name)
	case strings.HasPrefix(args[0], "-"):
		return nil, nil, Usagef("flag %s before a command (%s -h lists the commands)", args[0], p.Name)
	default:
		return nil, nil, Usagef("no command %q (%s -h lists them)", args[0], p.Name)
	}
}

// usage prints the help of the whole program.
func (p *Program) usage(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s COMMAND [flags]\n\n%s\n\nCommands:\n", p.Name, p.Summary)
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, cmd := range p.Commands {
		if cmd.Name != "" {
			fmt.Fprintf(table, "  %s\t%s\n", cmd.Name, cmd.Summary)
		}
	}
	table.Flush()
	for i := range p.Commands {
		if cmd := &p.Commands[i]; cmd.Name == "" {
			fmt.Fprintf(&b, "\nWithout a command:\n\n")
			fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
			cmd.Setup(fs)
			flags(&b, p.Name, cmd, fs)
		}
	}
	fmt.Fprintf(&b, "\nFlags of a command: %s COMMAND -h\n", p.Name)
	p.example(&b)
	io.WriteString(w, b.String())
}

// commandUsage prints the help of one command.
func (p *Program) commandUsage(w io.Writer, cmd *Command, fs *flag.FlagSet) {
	var b strings.Builder
	flags(&b, fs.Name(), cmd, fs)
	p.example(&b)
	io.WriteString(w, b.String())
}

// flags prints the usage line, the summary and the flags of one command.
func flags(b *strings.Builder, name string, cmd *Command, fs *flag.FlagSet) {
	line := name
	count := 0
	fs.VisitAll(func(*flag.Flag) { count++ })
	if count > 0 {
		line += " [flags]"
	}
	if cmd.Args != "" {
		line += " " + cmd.Args
	}
	fmt.Fprintf(b, "Usage: %s\n\n%s\n", line, cmd.Summary)
	if count > 0 {
		fmt.Fprintln(b, "\nFlags:")
		fs.SetOutput(b)
		fs.PrintDefaults()
	}
}

// example prints the program's example, indented.
func (p *Program) example(b *strings.Builder) {
	if p.Example == "" {
		return
	}
	fmt.Fprintln(b, "\nExample:")
	for line := range strings.Lines(strings.Trim(p.Example, "\n") + "\n") {
		fmt.Fprint(b, "  ", line)
	}
}
