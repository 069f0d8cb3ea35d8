// Package config reads the operator's settings: DIR/strongroom.toml, then
// STRONGROOM_* variables over it.
//
// Nothing is ignored: a key that does not exist, in the file or in the
// environment, refuses to start and is named, for a misspelt security setting
// that silently keeps its default is worse than no start. Secrets are not
// settings; a setting names the file that holds one.
//
// To add a setting, add a field to [Config] with its tags and its default;
// file key, variable and description follow from it.
package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// FileName is the settings file in the data directory.
const FileName = "strongroom.toml"

// prefix begins every variable that overrides a setting.
const prefix = "STRONGROOM_"

// elsewhere are the variables of that name space that are not settings of an
// installation: the command line's, the supervisor's word to its children, and
// the tests'.
var elsewhere = []string{"STRONGROOM_DATA", "STRONGROOM_EMAIL", "STRONGROOM_ORG", "STRONGROOM_PASSWORD_FILE", "STRONGROOM_READY_FD",
	"STRONGROOM_LONG", "STRONGROOM_TEST_PG"}

// Config holds every setting, defaults filled in.
type Config struct {
	Listen   string   `toml:"listen" doc:"address of the HTTPS server, HOST:PORT"`
	Redirect string   `toml:"redirect" doc:"address of a plain HTTP server that only redirects to HTTPS, HOST:PORT; empty for none"`
	Names    []string `toml:"names" doc:"DNS names and IP addresses of the server, beside this machine's own"`
	URL      string   `toml:"url" doc:"address by which people reach it, such as https://strongroom.example; empty: made of names and listen"`
	LogLevel string   `toml:"log_level" doc:"debug, info, warn or error"`

	TLS struct {
		Certificate string `toml:"certificate" doc:"file with the certificate chain of your own authority, PEM; empty for the local authority"`
		Key         string `toml:"key" doc:"file with its private key, PEM"`
	} `toml:"tls"`

	ACME struct {
		Directory   string `toml:"directory" doc:"directory URL of an ACME authority that gives certificates for the DNS names in names; empty for none"`
		AcceptTerms bool   `toml:"accept_terms" doc:"true: the terms of that authority are accepted"`
		Email       string `toml:"email" doc:"where that authority may write to"`
		CA          string `toml:"ca" doc:"file with the certificates that the directory's own is checked with, PEM; empty for the system's"`
	} `toml:"acme"`

	Mail struct {
		SMTP         string `toml:"smtp" doc:"mail server, HOST:PORT; empty: mail is put into outbox/ as files"`
		TLS          string `toml:"tls" doc:"starttls, or implicit where the mail server speaks TLS from the first byte"`
		From         string `toml:"from" doc:"sender's address"`
		User         string `toml:"user" doc:"name to sign in to the mail server with; empty: without"`
		PasswordFile string `toml:"password_file" doc:"file with the password, in its first line"`
		CA           string `toml:"ca" doc:"file with the certificates that the mail server's own is checked with, PEM; empty for the system's"`
	} `toml:"mail"`

	Alarms struct {
		Mail              []string `toml:"mail" doc:"addresses that alarms are mailed to"`
		Webhook           string   `toml:"webhook" doc:"https URL that alarms are posted to as JSON"`
		WebhookSecretFile string   `toml:"webhook_secret_file" doc:"file with the secret that signs them, in its first line, 32 characters or more"`
		WebhookCA         string   `toml:"webhook_ca" doc:"file with the certificates that the webhook's own is checked with, PEM; empty for the system's"`
		Again             string   `toml:"again" doc:"how long until an alarm that lasts is sent again, such as 24h"`
	} `toml:"alarms"`

	Metrics struct {
		Listen string `toml:"listen" doc:"loopback address for Prometheus, such as 127.0.0.1:9464; empty for none"`
	} `toml:"metrics"`

	Developer struct {
		Sandboxes Switch `toml:"sandboxes" doc:"true or false: whether people may make throw-away organizations; empty: only with --demo"`
	} `toml:"developer"`

	Trust struct {
		Organization   string            `toml:"organization" doc:"whose installation the trust page says it is"`
		Contact        string            `toml:"contact" doc:"security contact: an address, or a URI that begins with https, mailto or tel"`
		Policy         string            `toml:"policy" doc:"https URL of the policy on reports of vulnerabilities"`
		Location       string            `toml:"location" doc:"sentence on the trust page that says where the data is"`
		Hosting        string            `toml:"hosting" doc:"who provides building, power, network and hardware"`
		Roadmap        map[string]string `toml:"roadmap" doc:"what software cannot keep, as \"Penetration test\" = \"planned: spring\"; a state is not planned, not started, planned, in progress or done"`
		EveryPassive   string            `toml:"every_passive" doc:"how often checks run that only look"`
		EveryCanary    string            `toml:"every_canary" doc:"how often checks run that act inside canary organizations"`
		EveryScheduled string            `toml:"every_scheduled" doc:"how often the results of heavy checks are taken up"`
	} `toml:"trust"`

	Postgres struct {
		Binaries string            `toml:"binaries" doc:"folder of PostgreSQL's initdb and postgres; empty to find them"`
		Settings map[string]string `toml:"settings" doc:"settings of the private PostgreSQL, such as shared_buffers = \"1GB\""`
	} `toml:"postgres"`
}

// Switch is true, false, or empty where the operator has not decided.
type Switch string

// UnmarshalText reads true and false, in TOML with or without quotes.
func (s *Switch) UnmarshalText(b []byte) error {
	on, err := strconv.ParseBool(string(b))
	if err != nil {
		return errors.New("must be true or false")
	}
	*s = Switch(strconv.FormatBool(on))
	return nil
}

// Or returns what the operator decided, or otherwise.
func (s Switch) Or(otherwise bool) bool { return s == "true" || s == "" && otherwise }

// Default returns the settings of an installation that has no file.
func Default() Config {
	var c Config
	c.Listen = "127.0.0.1:8443"
	c.LogLevel = "info"
	c.Mail.TLS = "starttls"
	c.Alarms.Again = "24h"
	c.Trust.EveryPassive, c.Trust.EveryCanary, c.Trust.EveryScheduled = "1h", "1h", "1h"
	return c
}

// Load returns the settings of the data directory dir, with environ (as from
// os.Environ) over them.
func Load(dir string, environ []string) (Config, error) {
	c := Default()
	path := filepath.Join(dir, FileName)
	if err := c.readFile(path); err != nil {
		return Config{}, err
	}
	if err := c.readEnvironment(environ); err != nil {
		return Config{}, err
	}
	if err := c.check(); err != nil {
		return Config{}, fmt.Errorf("settings (%s and %s…): %w", path, prefix, err)
	}
	return c, nil
}

func (c *Config) readFile(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: other users can write to it; close it with chmod go-w", path)
	}
	meta, err := toml.DecodeFile(path, c)
	if syntax := (toml.ParseError{}); errors.As(err, &syntax) {
		// Its long form quotes the line, which may hold what should not be shown.
		return fmt.Errorf("%s: line %d: %s", path, syntax.Position.Line, syntax.Message)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, key := range meta.Undecoded() {
		return fmt.Errorf("%s: there is no setting %s%s", path, key, suggest(key.String(), fileKeys()))
	}
	return nil
}

func (c *Config) readEnvironment(environ []string) error {
	all := c.settings()
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || slices.Contains(elsewhere, name) {
			continue
		}
		found := false
		for _, s := range all {
			if rest, under := strings.CutPrefix(name, s.Variable+"_"); s.value.Kind() == reflect.Map && under && rest != "" {
				if s.value.IsNil() {
					s.value.Set(reflect.MakeMap(s.value.Type()))
				}
				s.value.SetMapIndex(reflect.ValueOf(strings.ToLower(rest)), reflect.ValueOf(value))
				found = true
			} else if s.value.Kind() != reflect.Map && name == s.Variable {
				if err := set(s.value, value); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				found = true
			}
		}
		if !found {
			var names []string
			for _, s := range all {
				names = append(names, s.Variable)
			}
			return fmt.Errorf("the environment has %s, and there is no such setting%s", name, suggest(name, names))
		}
	}
	return nil
}

func set(v reflect.Value, text string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("must be true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("must be a whole number")
		}
		v.SetInt(n)
	case reflect.Slice: // of strings, see TestEverySettingHasAKindThatTheEnvironmentCanSet
		list := []string{}
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
		v.Set(reflect.ValueOf(list))
	default:
		return fmt.Errorf("cannot be set here, but in %s", FileName)
	}
	return nil
}

func (c *Config) check() error {
	if err := checkAddress("listen", c.Listen); err != nil {
		return err
	}
	if c.Redirect != "" {
		if err := checkAddress("redirect", c.Redirect); err != nil {
			return err
		}
		if c.Redirect == c.Listen {
			return errors.New("redirect: must differ from listen")
		}
	}
	if _, err := c.Level(); err != nil {
		return err
	}
	if (c.TLS.Certificate == "") != (c.TLS.Key == "") {
		return errors.New("tls.certificate and tls.key: set both or neither")
	}
	if err := errors.Join(c.checkReach(), c.checkMail(), c.checkAlarms()); err != nil {
		// One at a time: a list of mistakes in one line is not read.
		return firstOf(err)
	}
	for key, path := range map[string]string{"tls.certificate": c.TLS.Certificate, "tls.key": c.TLS.Key, "postgres.binaries": c.Postgres.Binaries,
		"acme.ca": c.ACME.CA, "mail.password_file": c.Mail.PasswordFile, "mail.ca": c.Mail.CA,
		"alarms.webhook_secret_file": c.Alarms.WebhookSecretFile, "alarms.webhook_ca": c.Alarms.WebhookCA} {
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%s: must be an absolute path", key)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func checkAddress(key, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: must be HOST:PORT, such as 127.0.0.1:8443", key)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%s: the port must be a number from 0 to 65535", key)
	}
	return nil
}

// Level returns the log level.
func (c *Config) Level() (slog.Level, error) {
	switch c.LogLevel {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, errors.New("log_level: must be debug, info, warn or error")
}

// Setting describes one setting, for help and documentation.
type Setting struct {
	Key      string // in the file, with its table: tls.key
	Variable string // in the environment
	Default  string
	Doc      string

	value reflect.Value
}

// Describe returns every setting, sorted by key.
func Describe() []Setting {
	c := Default()
	return c.settings()
}

func (c *Config) settings() []Setting {
	var all []Setting
	var walk func(v reflect.Value, table string)
	walk = func(v reflect.Value, table string) {
		for i := range v.NumField() {
			field, value := v.Type().Field(i), v.Field(i)
			key := table + field.Tag.Get("toml")
			if value.Kind() == reflect.Struct {
				walk(value, key+".")
				continue
			}
			s := Setting{Key: key, Variable: prefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_")), Doc: field.Tag.Get("doc"), value: value}
			if value.Kind() == reflect.Map {
				s.Doc += "; in the environment one variable each, such as " + s.Variable + "_SHARED_BUFFERS"
			} else if !value.IsZero() {
				s.Default = fmt.Sprint(value.Interface())
			}
			all = append(all, s)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	slices.SortFunc(all, func(a, b Setting) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

func fileKeys() []string {
	keys := map[string]bool{}
	for _, s := range Describe() {
		keys[s.Key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}

// suggest names the setting that was probably meant.
func suggest(name string, known []string) string {
	best, distance := "", 4 // further away it is a guess, not a slip
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return "; the settings are " + strings.Join(known, ", ")
	}
	return "; did you mean " + best + "?"
}

// editDistance counts the letters to insert, remove or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
