// Arguments to start from, made of a tool's input schema.

const DEEPEST = 6;

/** A value that has the shape of `schema`: its default or example if it has one, else its required members. */
export function sample(schema, depth = 0) {
  if (schema === null || typeof schema !== "object" || depth > DEEPEST) return null;
  if ("default" in schema) return schema.default;
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.examples) && schema.examples.length > 0) return schema.examples[0];
  if (Array.isArray(schema.enum) && schema.enum.length > 0) return schema.enum[0];
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(alternatives) && alternatives.length > 0 && !schema.properties) {
    return sample(alternatives[0], depth + 1);
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  switch (type ?? (schema.properties ? "object" : undefined)) {
    case "object": {
      const required = new Set(Array.isArray(schema.required) ? schema.required : []);
      const members = Object.entries(schema.properties ?? {});
      const wanted = members.filter(([name, member]) => required.has(name) || hasDefault(member));
      return Object.fromEntries(wanted.map(([name, member]) => [name, sample(member, depth + 1)]));
    }
    case "array":
      return [];
    case "string":
      return "";
    case "integer":
    case "number":
      return typeof schema.minimum === "number" ? schema.minimum : 0;
    case "boolean":
      return false;
    default:
      return null;
  }
}

function hasDefault(schema) {
  return schema !== null && typeof schema === "object" && "default" in schema;
}
