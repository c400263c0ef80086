// Without masked memory the left-over elements are a scalar loop.
// run: lower vectorize hoist
// target: neon
// kernel k(x: f64[s0]) -> (y):
//   y[i] := x[i] + 1.0
// expect:
// module {
//   func.func @k(%x: memref<?xf64>, %y: memref<?xf64>, %s0: index, %errors: memref<?xi64>) {
//     %c0 = arith.constant 0 : index
//     %c1 = arith.constant 1 : index
//     %cst = arith.constant 1.0 : f64
//     %c8 = arith.constant 8 : index
//     %0 = arith.subi %s0, %c0 : index
//     %1 = arith.divsi %0, %c8 : index
//     %2 = arith.muli %1, %c8 : index
//     %3 = arith.addi %c0, %2 : index
//     %4 = vector.broadcast %cst : f64 to vector<2xf64>
//     %c2 = arith.constant 2 : index
//     %c4 = arith.constant 4 : index
//     %c6 = arith.constant 6 : index
//     scf.for %i = %c0 to %3 step %c8 {
//       %5 = vector.load %x[%i] : memref<?xf64>, vector<2xf64>
//       %6 = arith.addf %5, %4 : vector<2xf64>
//       vector.store %6, %y[%i] : memref<?xf64>, vector<2xf64>
//       %7 = arith.addi %i, %c2 : index
//       %8 = vector.load %x[%7] : memref<?xf64>, vector<2xf64>
//       %9 = arith.addf %8, %4 : vector<2xf64>
//       vector.store %9, %y[%7] : memref<?xf64>, vector<2xf64>
//       %10 = arith.addi %i, %c4 : index
//       %11 = vector.load %x[%10] : memref<?xf64>, vector<2xf64>
//       %12 = arith.addf %11, %4 : vector<2xf64>
//       vector.store %12, %y[%10] : memref<?xf64>, vector<2xf64>
//       %13 = arith.addi %i, %c6 : index
//       %14 = vector.load %x[%13] : memref<?xf64>, vector<2xf64>
//       %15 = arith.addf %14, %4 : vector<2xf64>
//       vector.store %15, %y[%13] : memref<?xf64>, vector<2xf64>
//       scf.yield
//     }
//     %16 = arith.divsi %0, %c2 : index
//     %17 = arith.muli %16, %c2 : index
//     %18 = arith.addi %c0, %17 : index
//     scf.for %i_1 = %3 to %18 step %c2 {
//       %19 = vector.load %x[%i_1] : memref<?xf64>, vector<2xf64>
//       %20 = arith.addf %19, %4 : vector<2xf64>
//       vector.store %20, %y[%i_1] : memref<?xf64>, vector<2xf64>
//       scf.yield
//     }
//     scf.for %i_2 = %18 to %s0 step %c1 {
//       %21 = memref.load %x[%i_2] : memref<?xf64>
//       %22 = arith.addf %21, %cst : f64
//       memref.store %22, %y[%i_2] : memref<?xf64>
//       scf.yield
//     } {tdsl.parallel, tdsl.cost = 3 : i64}
//     func.return
//   }
// }
