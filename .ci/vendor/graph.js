// What the dashboard uses of sigma and graphology, as one module.
export { MultiDirectedGraph } from "graphology";
export { default as Sigma } from "sigma";
export { EdgeRectangleProgram } from "sigma/rendering";
