package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

type getFlags struct {
	kind, out, ranges string
	version           int64
	content, force    bool
}

func (a *cli) get() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Get a record, or a file's bytes",
		Long: `Get a record or a file by its id.

A file is written to the standard output, or to the file or into the folder that -o names; the
target appears when it is whole, readable by you alone. A download that breaks off goes on where
it was: by itself, or when the same command is run again.`,
		Example: `  strongroom get measurements/rec_…
  strongroom get fil_… -o frame-0001.tif
  strongroom get fil_… --range 0-1023 | xxd
  strongroom get fil_… --version 1 -o before.tif`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if !isRecord(args[0]) && !isFile(args[0]) {
				return usagef("what is it? An id begins with rec_ or fil_")
			}
			r, err := parseRange(f.ranges)
			if err != nil {
				return err
			}
			if f.ranges != "" && !isFile(args[0]) {
				return usagef("--range is for files")
			}
			if f.version < 0 || f.version > 0 && !isFile(args[0]) {
				return usagef("--version is an earlier version of a file; those of a record are in its history")
			}
			if isFile(args[0]) && (f.out == "" || f.out == "-") && a.outTTY && f.ranges == "" {
				return usagef("a file is not written to a terminal: give -o FILE, or -o - to do it all the same")
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			if isFile(args[0]) {
				return a.getFile(ctx, s.Client, org, args[0], r, f)
			}
			return a.getRecord(ctx, s.Client, org, args[0], f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "", "collection of the record")
	fl.StringVarP(&f.out, "out", "o", "", "file or folder to write to, or - for the standard output")
	fl.StringVar(&f.ranges, "range", "", "part of a file, in bytes: FIRST-LAST, FIRST- or -COUNT")
	fl.Int64Var(&f.version, "version", 0, "an earlier version of a file (default: the newest)")
	fl.BoolVar(&f.content, "content", false, "the record's content alone, as the server has it")
	fl.BoolVar(&f.force, "force", false, "write over an existing file")
	return a.inOrg(cmd)
}

func parseRange(s string) (client.Range, error) {
	if s == "" {
		return client.Range{}, nil
	}
	bad := usagef("--range must be FIRST-LAST, FIRST- or -COUNT")
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return client.Range{}, bad
	}
	number := func(s string) int64 {
		n, err := strconv.ParseUint(s, 10, 62)
		if err != nil {
			return -1
		}
		return int64(n)
	}
	switch a, b := number(first), number(last); {
	case first == "" && b > 0:
		return client.Range{Offset: -b}, nil
	case a >= 0 && last == "":
		return client.Range{Offset: a}, nil
	case a >= 0 && b >= a:
		return client.Range{Offset: a, Length: b - a + 1}, nil
	}
	return client.Range{}, bad
}

func (a *cli) getRecord(ctx context.Context, c *client.Client, org, arg string, f getFlags) error {
	r, err := parseRef(arg, f.kind)
	if err != nil {
		return err
	}
	rec, err := find(ctx, c, org, r)
	if err != nil {
		return err
	}
	if f.out != "" && f.out != "-" {
		text := []byte(rec.Content)
		if !f.content {
			var b strings.Builder
			if err := show.Object(&b, rec); err != nil {
				return err
			}
			text = []byte(b.String())
		}
		dest, err := destination(f.out, rec.ID+".json", f.force)
		if err != nil {
			return err
		}
		return a.save(dest, f.force, func(f *os.File) error { _, err := f.Write(text); return err })
	}
	if f.content {
		text := []byte(rec.Content)
		if a.outTTY {
			text = append(show.JSON(text), '\n')
		}
		_, err := a.out.Write(text)
		return err
	}
	if a.format != show.Table {
		return show.One(a.out, a.format, recordColumns, rec)
	}
	head := append(recordColumns[:len(recordColumns)-1:len(recordColumns)-1],
		show.Column[client.Record]{Name: "COLLECTION", Value: func(r client.Record) string { return r.Kind }},
		show.Column[client.Record]{Name: "OWNER", Value: func(r client.Record) string { return r.Owner }},
		show.Column[client.Record]{Name: "CREATED", Value: func(r client.Record) string { return when(r.CreatedAt) + " by " + r.CreatedBy }})
	if err := show.One(a.out, a.format, head, rec); err != nil {
		return err
	}
	return show.Object(a.out, rec.Content)
}

// destination says where to write: to path, or, if it is a folder, under name
// in it.
func destination(path, name string, force bool) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		path = filepath.Join(path, name)
	case strings.HasSuffix(path, string(filepath.Separator)):
		return "", fmt.Errorf("there is no folder %s", path)
	}
	return path, free(path, force)
}

func free(path string, force bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case !force:
		return fmt.Errorf("%s exists: give --force to write over it", path)
	}
	return nil
}

// save writes a file that appears at dest when it is whole, and not at all
// after an error.
func (a *cli) save(dest string, force bool, write func(*os.File) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(dest), ".strongroom-*.part") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	err = write(tmp)
	return finish(tmp, dest, force, err)
}

// finish makes a temporary file the one at dest, unless err.
func finish(tmp *os.File, dest string, force bool, err error) error {
	if err == nil {
		err = tmp.Sync()
	}
	if err2 := tmp.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = free(dest, force)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), dest)
	}
	return err
}

func (a *cli) getFile(ctx context.Context, c *client.Client, org, id string, r client.Range, f getFlags) error {
	if f.out == "" || f.out == "-" {
		content, err := c.DownloadFile(ctx, org, id, f.version, r)
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }()
		t := a.progress.Start(content.Name, content.Length)
		defer t.End()
		_, err = io.Copy(a.out, t.Reader(content))
		return err
	}
	if r != (client.Range{}) || f.version > 0 {
		content, err := c.DownloadFile(ctx, org, id, f.version, r)
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }()
		dest, err := destination(f.out, show.FileName(content.Name, id), f.force)
		if err != nil {
			return err
		}
		t := a.progress.Start(content.Name, content.Length)
		defer t.End()
		return a.save(dest, f.force, func(f *os.File) error { _, err := io.Copy(f, t.Reader(content)); return err })
	}
	return a.download(ctx, c, org, id, f)
}

// download gets a whole file. What has arrived waits under a name made of id
// and version, so that a later run can go on with it.
func (a *cli) download(ctx context.Context, c *client.Client, org, id string, f getFlags) (err error) {
	dir := f.out
	if info, err := os.Stat(f.out); err != nil || !info.IsDir() {
		dir = filepath.Dir(f.out)
		if err := free(f.out, f.force); err != nil {
			return err // before anything travels
		}
	}
	part, content, err := a.resume(ctx, c, org, id, dir)
	if err != nil {
		return err
	}
	if content == nil {
		if content, err = c.DownloadFile(ctx, org, id, 0, client.Range{}); err != nil {
			return err
		}
	}
	defer func() { _ = content.Close() }()
	dest, err := destination(f.out, show.FileName(content.Name, id), f.force)
	if err == nil && part == nil {
		part, err = openPart(partName(dir, id, content.Version), os.O_CREATE|os.O_EXCL)
	}
	if err != nil {
		return err
	}
	have := content.Offset
	t := a.progress.Start(content.Name, max(content.Size, 0))
	t.Set(have)
	n, err := io.Copy(struct{ io.Writer }{part}, t.Reader(content))
	t.End()
	have += n
	if err == nil && content.Size >= 0 && have != content.Size {
		err = errors.New("the file ended too early")
	}
	kept := err != nil && have > 0 && content.Version > 0 && !errors.Is(err, client.ErrChanged)
	if err = finish(part, dest, f.force, err); err != nil {
		if kept {
			a.say("%s have arrived and are kept in %s: the same command goes on from there.", show.Size(have), part.Name())
		} else {
			_ = os.Remove(part.Name())
		}
		return err
	}
	a.say("%s: %s", dest, show.Size(have))
	return nil
}

func partName(dir, id string, version int64) string {
	return filepath.Join(dir, fmt.Sprintf(".strongroom-%s-v%d.part", id, version))
}

// resume finds what an earlier run left and asks for the rest of it. Without
// such a file, or when its version is not the newest, content is nil.
func (a *cli) resume(ctx context.Context, c *client.Client, org, id, dir string) (*os.File, *client.Content, error) {
	left, err := filepath.Glob(filepath.Join(escapeGlob(dir), ".strongroom-"+id+"-v*.part"))
	if err != nil {
		return nil, nil, err
	}
	for _, path := range left {
		mark := strings.TrimSuffix(path[strings.LastIndex(path, "-v")+2:], ".part")
		version, err := strconv.ParseInt(mark, 10, 64)
		if err != nil || version < 1 {
			continue
		}
		part, err := openPart(path, os.O_APPEND)
		if err != nil {
			return nil, nil, err
		}
		info, err := part.Stat()
		if err == nil && info.Size() > 0 {
			var content *client.Content
			content, err = c.ResumeFile(ctx, org, id, version, client.Range{Offset: info.Size()})
			if err == nil && content.Offset == info.Size() {
				a.say("Going on after %s.", show.Size(info.Size()))
				return part, content, nil
			}
			if content != nil {
				_ = content.Close()
			}
		}
		_ = part.Close()
		switch status := client.Status(err); {
		case err == nil, errors.Is(err, client.ErrChanged), status == 416: // another version, or nothing is missing: begin again
			if err := os.Remove(path); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// openPart opens a file of half a download. Its name can be guessed, so in a
// folder that others can write to one of theirs may wait there: it must be a
// plain file of our own that nobody else can use.
func openPart(path string, mode int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW|mode, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		own, ok := info.Sys().(*syscall.Stat_t)
		if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 || !ok || int(own.Uid) != os.Geteuid() || own.Nlink != 1 {
			err = fmt.Errorf("%s is not a private file of your own: remove it", path)
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
