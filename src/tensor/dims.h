/* dims.h - THE glossary of dimension letters. Every comment, formula and argument uses these.
 *
 *   B    sequences in a (micro-)batch          S    positions in a sequence
 *   T    tokens, T = B*S                       H    hidden_size
 *   A    attention heads                       d    head_dim, d = H/A
 *   F    width of a dense FFN                  L    layers
 *   E    routed experts                        K    routed experts per token
 *   De   width of one routed expert            Dse  width of the shared expert
 *   V    vocabulary                            R    rows in expert order, R = T*K
 *   G    sequences in a balance-loss group
 *
 * A matrix W (out, in) is stored row by row as in PyTorch and Hugging Face: y = x W^T.
 */
#ifndef ISO_TENSOR_DIMS_H
#define ISO_TENSOR_DIMS_H
#endif
