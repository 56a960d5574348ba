// Shows /openapi.json to people: every operation with its parameters, an example to paste, and what can go wrong.

const spec = await (await fetch('/openapi.json')).json();

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const resolve = (schema) => (schema.$ref ? spec.components.schemas[schema.$ref.split('/').pop()] : schema);

function typeName(schema) {
  if (schema.$ref) return node('a', { href: `#${schema.$ref.split('/').pop()}` }, schema.$ref.split('/').pop());
  if (schema.anyOf) return typeName(schema.anyOf[0]);
  if (schema.type === 'array') return node('span', {}, 'list of ', typeName(schema.items));
  if (schema.enum) return schema.enum.join(' | ');
  return [schema.type, schema.format].flat().filter(Boolean).join(', ');
}

function fields(rows) {
  const body = rows.map(([name, place, schema, text, isRequired]) =>
    node('tr', {}, node('td', {}, node('code', {}, name), isRequired ? ' *' : ''), node('td', {}, place),
      node('td', {}, typeName(schema)), node('td', {}, text || schema.description || '')));
  const head = ['field', 'in', 'type', 'what'].map((name) => node('th', { scope: 'col' }, name));
  return node('table', {}, node('thead', {}, node('tr', {}, ...head)), node('tbody', {}, ...body));
}

const members = (schema, place) => Object.entries(schema.properties || {})
  .map(([name, of]) => [name, place, of, of.description, (schema.required || []).includes(name)]);

/** A key of its own for each example: one key is one command. */
const exampleKey = (path) => `my-first${path.replace(/^\/v1/, '').replace(/[^a-z]+/gi, '-')}`;

function curl(path, verb, example, withKey) {
  const lines = [`curl '${location.origin}${path}'`];
  if (verb !== 'get') lines[0] = `curl -X ${verb.toUpperCase()} '${location.origin}${path}'`;
  if (withKey) lines.push(`-H 'Idempotency-Key: ${exampleKey(path)}'`);
  if (example) lines.push(`-H 'Content-Type: application/json'`, `-d '${JSON.stringify(example)}'`);
  return lines.join(' \\\n  ');
}

/** A query with what must be in it. */
function asked(parameters) {
  const required = parameters.filter(([, place, , , isRequired]) => place === 'query' && isRequired);
  return required.length ? `?${required.map(([name]) => `${name}=...`).join('&')}` : '';
}

function operation(path, verb, of) {
  const content = of.requestBody?.content['application/json'];
  const parameters = (of.parameters || []).map((p) => [p.name, p.in, p.schema, p.description, p.required]);
  const rows = [...parameters, ...(content ? members(resolve(content.schema), 'body') : [])];
  const answers = Object.entries(of.responses).map(([status, answer]) => {
    const problem = answer.$ref && spec.components.responses[status];
    const schema = (problem || answer).content?.['application/json']?.schema;
    return node('li', {}, node('code', {}, status), ' ', (problem || answer).description, schema ? ' ' : '',
      schema ? typeName(schema) : '');
  });
  const withKey = parameters.some(([name]) => name === 'Idempotency-Key');
  return node('details', { id: of.operationId },
    node('summary', {}, node('span', { class: 'verb' }, verb.toUpperCase()), node('code', {}, path),
      node('span', { class: 'what' }, of.summary || '')),
    rows.length ? fields(rows) : '', node('pre', {}, curl(path + asked(parameters), verb, content?.example, withKey)),
    node('ul', {}, ...answers));
}

const operations = Object.entries(spec.paths)
  .flatMap(([path, verbs]) => Object.entries(verbs).map(([verb, of]) => operation(path, verb, of)));
const problems = Object.values(spec.components.responses)
  .flatMap((of) => Object.values(of.content['application/problem+json'].examples)).map(({ value: example }) => {
  return node('tr', { id: example.reason }, node('td', {}, String(example.status)),
    node('td', {}, node('code', {}, example.reason)), node('td', {}, example.detail));
});
const types = Object.entries(spec.components.schemas).map(([name, schema]) =>
  node('details', { id: name }, node('summary', {}, node('code', {}, name)), node('p', {}, schema.description || ''),
    schema.enum ? node('p', {}, schema.enum.join(', ')) : fields(members(schema, ''))));

document.getElementById('out').replaceChildren(
  node('p', {}, spec.info.description, ' The same as a file: ', node('a', { href: '/openapi.json' }, '/openapi.json'), '.'),
  node('h2', {}, 'Operations'), ...operations,
  node('h2', {}, 'Problems'), node('table', {}, node('tbody', {}, ...problems)),
  node('h2', {}, 'Types'), ...types);

// A link to a part opens it.
function open() {
  const part = document.getElementById(location.hash.slice(1));
  if (part instanceof HTMLDetailsElement) part.open = true;
  part?.scrollIntoView();
}
addEventListener('hashchange', open);
open();
