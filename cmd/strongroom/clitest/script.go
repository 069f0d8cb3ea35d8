package clitest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Script runs a script and fails the test at its first line that does not do
// what it says. A line is one of
//
//	strongroom ARG...        run the command; it must succeed
//	[4] strongroom ARG...    it must end with this exit code
//	stdin FILE               standard input of the next command
//	stdout RE  ! stdout RE   what the last command printed matches, or does not
//	stderr RE  ! stderr RE
//	set NAME RE              $NAME is the first group of RE in the last stdout
//	cmp FILE FILE            the files are the same
//	mode FILE 0600           the permissions are these
//	chmod 0644 FILE
//	exists FILE  ! exists FILE
//	# a comment
//
// Words are split at spaces, outside single quotes; $NAME is a variable of
// the script or of Env. Below a line "-- NAME --" stands the content of a file
// of the working folder, to the next such line.
func (c *CLI) Script(path string) {
	c.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if _, ok := section(line); ok {
			c.sections(lines[i:])
			lines = lines[:i]
			break
		}
	}
	s := script{cli: c, vars: map[string]string{}}
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.line(line); err != nil {
			c.t.Fatalf("%s:%d: %s\n%v\nlast command: exit %d\nstdout:\n%s\nstderr:\n%s", path, i+1, line, err, s.last.Code, s.last.Stdout, s.last.Stderr)
		}
	}
}

func section(line string) (string, bool) {
	name, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(name, " --")
}

func (c *CLI) sections(lines []string) {
	var name string
	var body strings.Builder
	flush := func() {
		if name != "" {
			c.Write(name, []byte(body.String()))
		}
		body.Reset()
	}
	for _, line := range lines {
		if n, ok := section(line); ok {
			flush()
			name = n
			continue
		}
		body.WriteString(line + "\n")
	}
	// What stands after the last line break is not a line.
	if text := body.String(); strings.HasSuffix(text, "\n") {
		body.Reset()
		body.WriteString(strings.TrimSuffix(text, "\n"))
	}
	flush()
}

type script struct {
	cli   *CLI
	vars  map[string]string
	stdin string
	last  Result
}

var word = regexp.MustCompile(`'[^']*'|\S+`)
var variable = regexp.MustCompile(`\$[A-Z_]+`)

func (s *script) line(line string) error {
	var words []string
	for _, w := range word.FindAllString(line, -1) {
		if strings.HasPrefix(w, "'") {
			w = strings.Trim(w, "'")
		}
		words = append(words, variable.ReplaceAllStringFunc(w, func(v string) string {
			if x, ok := s.vars[v[1:]]; ok {
				return x
			}
			return s.cli.Env[v[1:]]
		}))
	}
	want, not := 0, false
	if m := regexp.MustCompile(`^\[(\d)\]$`).FindStringSubmatch(words[0]); m != nil {
		want, _ = strconv.Atoi(m[1])
		words = words[1:]
	} else if words[0] == "!" {
		not = true
		words = words[1:]
	}
	need := map[string]int{"stdin": 2, "stdout": 2, "stderr": 2, "set": 3, "cmp": 3, "mode": 3, "chmod": 3, "exists": 2}
	if n := need[words[0]]; n > 0 && n != len(words) {
		return fmt.Errorf("%s takes %d words", words[0], n-1)
	}
	switch words[0] {
	case "strongroom":
		s.last = s.cli.RunIn(s.stdin, words[1:]...)
		s.stdin = ""
		if s.last.Code != want {
			return fmt.Errorf("exit code %d, not %d", s.last.Code, want)
		}
		return nil
	case "stdin":
		s.stdin = string(s.cli.Read(words[1]))
		return nil
	case "stdout":
		return matches(s.last.Stdout, words[1], not)
	case "stderr":
		return matches(s.last.Stderr, words[1], not)
	}
	return s.files(words, not)
}

func (s *script) files(words []string, not bool) error {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(s.cli.Dir, name)
	}
	switch words[0] {
	case "set":
		re, err := regexp.Compile("(?m)" + words[2])
		if err != nil {
			return err
		}
		m := re.FindStringSubmatch(s.last.Stdout)
		if len(m) < 2 {
			return fmt.Errorf("the output does not match")
		}
		s.vars[words[1]] = m[1]
		return nil
	case "cmp":
		if string(s.cli.Read(words[1])) != string(s.cli.Read(words[2])) {
			return fmt.Errorf("the files differ")
		}
		return nil
	case "chmod":
		mode, err := strconv.ParseUint(words[1], 8, 32)
		if err != nil {
			return err
		}
		return os.Chmod(at(words[2]), os.FileMode(mode))
	}
	info, err := os.Stat(at(words[1]))
	switch words[0] {
	case "exists":
		if (err == nil) == not {
			return fmt.Errorf("it is the other way round")
		}
		return nil
	case "mode":
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != words[2] {
			return fmt.Errorf("the mode is %s", got)
		}
		return nil
	}
	return fmt.Errorf("no such line")
}

func matches(text, pattern string, not bool) error {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return err
	}
	if re.MatchString(text) == not {
		if not {
			return fmt.Errorf("it matches %s", pattern)
		}
		return fmt.Errorf("it does not match %s", pattern)
	}
	return nil
}
