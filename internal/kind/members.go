package kind

// Members visits the members of an object in their order, keys and values as
// they are written. object is well-formed and without white space between its
// tokens, as [Content.Text] gives it; but a value may be left out, and is then
// empty. It looks at each byte once and builds nothing.
func Members(object []byte, visit func(key, value []byte)) {
	for i := 1; i < len(object) && object[i] == '"'; i++ {
		end := value(object, i)
		from := min(end+1, len(object))
		key := object[i:end]
		i = value(object, from)
		visit(key, object[from:i])
	}
}

// Pointer is the place of a member of the top level (RFC 6901).
func Pointer(name string) string { return "/" + escaper.Replace(name) }
