// Package archtest holds the tests that keep the whole module in shape. It has
// no code of its own: everything here runs with go test.
//
// Each rule is a function that takes a module, read into memory, and returns
// its complaints as text. One test applies the rule to this module, another
// plants faults in a small module made up for the purpose and demands that
// the rule finds each. A rule that cannot fail proves nothing.
//
// The files, by what they watch over:
//
//   - imports_test.go: who imports whom, banned imports, the folders at the top, go.mod
//   - names_test.go: every exported name has a doc comment; no init functions, no exported variables
//   - docs_test.go: the eight headings of a package doc and what each must hold; runnable examples
//   - links_test.go: doc links and link definitions resolve
//   - exercises_test.go: every exercise folder is whole and answers its questions; the catalogue lists them all
//   - readme_test.go: the package table, the commands and the program in README.md
//   - consumer_test.go: a module outside this one can import every package, offline
//   - hygiene_test.go: machine paths, line ends and notes to self in text files
//
// The file testdata/exercises.txt lists the course's exercises: id, chapter,
// folder, and how many questions of the course the README has to answer.
package archtest
